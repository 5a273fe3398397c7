# Braid. `make run` serves the sample catalogue; `make test` tests everything; `make help` lists the rest.
#
# MODE=release|asan|tsan|cov chooses the flags, BUILD the folder, ROOMS the rooms to build (all by default).
MODE  ?= release
BUILD ?= build
PORT  ?= 8080
OUT   := $(BUILD)/$(MODE)

CC ?= cc
Q  := $(if $(V),,@)
ROOMS ?= base judge model learn wire record vector graph cache embed catalogue policy query engine

# A remote store is built when its client library is there: HAVE_x is 1 or empty. The embedded set needs none of them.
have = $(shell for d in /usr/include /usr/include/postgresql /usr/local/include; do [ -e $$d/$(1) ] && echo 1 && break; done)
HAVE_POSTGRES := $(call have,libpq-fe.h)
HAVE_REDIS    := $(call have,hiredis/hiredis.h)
HAVE_MILVUS   := $(if $(and $(call have,grpc/grpc.h),$(call have,protobuf-c/protobuf-c.h),$(shell command -v protoc-c)),1)
ABSENT := $(if $(HAVE_POSTGRES),,%/pg.c %_postgres.c %_pgvector.c $(wildcard src/*/*_postgres_*.c src/*/*_pgvector_*.c src/wire/pg_*.c)) \
          $(if $(HAVE_REDIS),,%_redis.c $(wildcard src/*/*_redis_*.c src/wire/redis*.c)) \
          $(if $(HAVE_MILVUS),,%_milvus.c $(wildcard src/*/*_milvus_*.c src/wire/grpc*.c src/wire/milvus*.c))

WARN   := -Wall -Wextra -Werror -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes -Wvla
COMMON := -std=c17 -D_GNU_SOURCE -pthread -g -fPIC -fvisibility=hidden -fno-omit-frame-pointer -MMD -MP -I. -Isrc -Iinclude $(WARN)
FLAGS_release := -O2 -fno-math-errno -fno-trapping-math
FLAGS_asan    := -O1 -fsanitize=address,undefined -fno-sanitize-recover=all
FLAGS_tsan    := -O1 -fsanitize=thread
FLAGS_cov     := -O0 --coverage
HAVE_FLAGS := $(if $(HAVE_POSTGRES),-DBRAID_HAVE_POSTGRES $(if $(wildcard /usr/include/postgresql),-I/usr/include/postgresql)) \
              $(if $(HAVE_REDIS),-DBRAID_HAVE_REDIS) $(if $(HAVE_MILVUS),-DBRAID_HAVE_MILVUS -I$(BUILD)/proto)
CFLAGS_ALL := $(COMMON) $(HAVE_FLAGS) $(FLAGS_$(MODE)) $(CFLAGS)
REMOTE_LIBS := $(if $(HAVE_POSTGRES),-lpq) $(if $(HAVE_REDIS),-lhiredis) $(if $(HAVE_MILVUS),-lgrpc -lgpr -lprotobuf-c)
LIBS := -lsqlite3 -lmicrohttpd -ljansson -lyaml -lxxhash -lroaring $(REMOTE_LIBS) -lssl -lcrypto -lm -pthread

src_of    = $(wildcard src/$(1)/*.c)
LIB_SRC  := $(filter-out $(ABSENT),$(foreach r,$(ROOMS),$(call src_of,$(r))))
PROTO_C  := $(if $(and $(HAVE_MILVUS),$(filter wire,$(ROOMS))),$(patsubst proto/%.proto,$(BUILD)/proto/%.pb-c.c,$(wildcard proto/*.proto)))
LIB_OBJ  := $(LIB_SRC:%.c=$(OUT)/%.o) $(PROTO_C:$(BUILD)/%.c=$(OUT)/%.o)
APP_SRC  := $(wildcard server/*.c cli/*.c)
APP_OBJ  := $(APP_SRC:%.c=$(OUT)/%.o)
TEST_SRC := $(wildcard test/unit/*.c test/contract_*.c)
TESTS    := $(TEST_SRC:%.c=$(OUT)/%)

DEMO := $(BUILD)/demo/braid.db

.PHONY: all run run-cluster test test-engines bench bench-engines install install-bolt clean help deps test-programs
all: $(OUT)/braid

run: ## install what is needed, build, load the sample catalogue, serve on 127.0.0.1:$PORT (8080)
	@scripts/deps.sh run
	@$(MAKE) --no-print-directory -j$$(nproc) $(OUT)/braid
	@scripts/demo.sh $(OUT)/braid $(DEMO)
	@exec $(OUT)/braid serve --db $(DEMO) --listen 127.0.0.1:$(PORT) --region CA

run-cluster: ## start Milvus, Neo4j, PostgreSQL and Redis on this machine and serve the same page on them; `scripts/engines.sh down` stops them
	@scripts/deps.sh run && scripts/deps.sh engines
	@$(MAKE) --no-print-directory -j$$(nproc) $(OUT)/braid
	@scripts/engines.sh up milvus neo4j postgres redis
	@scripts/cluster.sh $(OUT)/braid $(BUILD)/cluster/braid.yaml
	@exec $(OUT)/braid serve --config $(BUILD)/cluster/braid.yaml --listen 127.0.0.1:$(PORT)

test: ## install what testing needs, build, run every test, print one summary
	@scripts/deps.sh run && scripts/deps.sh test
	@python3 test/run.py

test-engines: ## start the real engines (Milvus, Neo4j, PostgreSQL, Redis) and run only the tests that need them
	@scripts/deps.sh run && scripts/deps.sh test
	@BRAID_TEST_ENGINES=must python3 test/run.py --only engines

bench: ## measure; writes bench/results/
	@scripts/deps.sh run && scripts/deps.sh bench
	@bench/run.sh

bench-engines: ## measure over the four real engines, next to their own clients; writes bench/results/engines/
	@scripts/deps.sh run && scripts/deps.sh test && scripts/deps.sh engines milvus neo4j postgres redis
	@bench/engines.sh

clean: ## remove everything that was built
	rm -rf $(BUILD)

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 24

test-programs: $(TESTS)

$(OUT)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC   $<"
	$(Q)$(CC) $(CFLAGS_ALL) -c $< -o $@

# Messages of Milvus: C from proto/, by protobuf-c. What it generates is not held to our warnings.
$(BUILD)/proto/%.pb-c.c $(BUILD)/proto/%.pb-c.h: proto/%.proto
	@mkdir -p $(@D)
	@echo "  PROTO $<"
	$(Q)protoc-c --proto_path=proto --c_out=$(BUILD)/proto $<

$(OUT)/proto/%.o: $(BUILD)/proto/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -w -c $< -o $@

$(patsubst %.c,$(OUT)/%.o,$(wildcard src/wire/milvus*.c src/vector/*_milvus*.c)): | $(PROTO_C)

$(OUT)/src/record/record_postgres_schema.o: $(wildcard sql/*.sql)

$(OUT)/libinternal.a: $(LIB_OBJ)
	@rm -f $@
	@echo "  AR   $@"
	$(Q)ar rcs $@ $^

# The page's files and the schemas of /openapi.json become a C source, so that the program carries them with it.
ASSETS     := $(sort $(shell find web -type f)) server/openapi_schemas.json
SERVER_OBJ := $(patsubst %.c,$(OUT)/%.o,$(wildcard server/*.c)) $(OUT)/assets_data.o

$(BUILD)/tools/embed: tools/embed.c
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c17 -O1 $(WARN) $< -o $@

$(OUT)/assets_data.c: $(BUILD)/tools/embed $(ASSETS) web
	@mkdir -p $(@D)
	$(Q)$(BUILD)/tools/embed $@ web $(ASSETS)

$(OUT)/assets_data.o: $(OUT)/assets_data.c
	$(Q)$(CC) $(CFLAGS_ALL) -c $< -o $@

$(OUT)/libserver.a: $(SERVER_OBJ)
	@rm -f $@
	$(Q)ar rcs $@ $^

$(OUT)/braid: $(APP_OBJ) $(OUT)/assets_data.o $(OUT)/libinternal.a
	@echo "  LINK $@"
	$(Q)$(CC) $(CFLAGS_ALL) $(APP_OBJ) $(OUT)/assets_data.o $(OUT)/libinternal.a -o $@ $(LIBS)

$(OUT)/test/unit/server_%: $(OUT)/test/unit/server_%.o $(OUT)/libserver.a $(OUT)/libinternal.a
	@echo "  LINK $@"
	$(Q)$(CC) $(CFLAGS_ALL) $^ -o $@ -lcmocka $(LIBS)

CLI_OBJ := $(patsubst %.c,$(OUT)/%.o,$(filter-out cli/main.c,$(wildcard cli/*.c)))
$(OUT)/libcli.a: $(CLI_OBJ)
	@rm -f $@
	$(Q)ar rcs $@ $^

$(OUT)/test/unit/cli_%: $(OUT)/test/unit/cli_%.o $(OUT)/libcli.a $(OUT)/libserver.a $(OUT)/libinternal.a
	@echo "  LINK $@"
	$(Q)$(CC) $(CFLAGS_ALL) $^ -o $@ -lcmocka $(LIBS)

# The library as others link it: only braid_* is visible, in the shared form and in the static one (one object, the rest made local).
SOVERSION := 0
VERSION := $(shell sed -n 's/^\#define BRAID_VERSION "\(.*\)"/\1/p' include/braid.h)
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
LIB_LIBS := -lsqlite3 -ljansson -lyaml -lxxhash -lroaring $(REMOTE_LIBS) -lssl -lcrypto -lm

$(OUT)/libbraid.so: $(LIB_OBJ)
	@echo "  LINK $@"
	$(Q)$(CC) $(CFLAGS_ALL) -shared -Wl,-soname,libbraid.so.$(SOVERSION) -Wl,-z,defs $^ -o $@ $(LIB_LIBS)

$(OUT)/libbraid.a: $(LIB_OBJ)
	@echo "  AR   $@"
	@rm -f $@
	$(Q)$(LD) -r $^ -o $(OUT)/libbraid.o
	$(Q)objcopy --localize-hidden $(OUT)/libbraid.o
	$(Q)ar rcs $@ $(OUT)/libbraid.o

# The Bolt client alone, for programs that want to speak with Neo4j and nothing else: one header and one static library, which shows
# what the header declares. The header is the headers of its parts, one after the other.
BOLT_HEADERS := include/braid_error.h $(patsubst %,src/base/%.h,error arena buf clock metrics remote) $(patsubst %,src/wire/%.h,packstream bolt bolt_machine)
BOLT_SRC := $(wildcard src/wire/bolt*.c src/wire/packstream*.c src/wire/stream*.c) src/wire/conn_pool.c \
            $(patsubst %,src/base/%.c,arena buf clock error map metrics remote rng utf8)
BOLT_OBJ := $(BOLT_SRC:%.c=$(OUT)/%.o)
BOLT_LIBS := -lssl -lcrypto -lxxhash -lm -pthread

$(OUT)/braid_bolt.h: $(BOLT_HEADERS)
	@mkdir -p $(@D)
	$(Q)(printf '/* braid_bolt.h: the Bolt client of Braid %s, by itself. docs/bolt.md explains it. Link with -lbraidbolt %s */\n' \
	    "$(VERSION)" "$(BOLT_LIBS)"; sed '/^#include "/d' $^) > $@

$(OUT)/libbraidbolt.a: $(BOLT_OBJ) $(OUT)/braid_bolt.h
	@echo "  AR   $@"
	@rm -f $@
	$(Q)$(LD) -r $(BOLT_OBJ) -o $(OUT)/libbraidbolt.o
	$(Q)grep -owE '[a-z][a-z0-9_]+' $(OUT)/braid_bolt.h | sort -u > $(OUT)/braid_bolt.names
	$(Q)objcopy --keep-global-symbols=$(OUT)/braid_bolt.names $(OUT)/libbraidbolt.o
	$(Q)ar rcs $@ $(OUT)/libbraidbolt.o

install-bolt: $(OUT)/libbraidbolt.a ## install the Bolt client for programs of your own: header, static library, pkg-config file
	install -d $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(LIBDIR)/pkgconfig
	install -m 644 $(OUT)/braid_bolt.h $(DESTDIR)$(PREFIX)/include/
	install -m 644 $(OUT)/libbraidbolt.a $(DESTDIR)$(LIBDIR)/libbraidbolt.a
	printf 'prefix=%s\nlibdir=%s\nincludedir=$${prefix}/include\n\nName: braid-bolt\nDescription: client of Neo4j over the Bolt protocol\nVersion: %s\nLibs: -L$${libdir} -lbraidbolt %s\nCflags: -I$${includedir}\n' \
	    "$(PREFIX)" "$(LIBDIR)" "$(VERSION)" "$(BOLT_LIBS)" > $(DESTDIR)$(LIBDIR)/pkgconfig/braid-bolt.pc

install: $(OUT)/braid $(OUT)/libbraid.so $(OUT)/libbraid.a ## install program, header, libraries and pkg-config file under $PREFIX (/usr/local), honouring DESTDIR
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(LIBDIR)/pkgconfig
	install -m 755 $(OUT)/braid $(DESTDIR)$(PREFIX)/bin/braid
	install -m 644 include/braid.h include/braid_error.h $(DESTDIR)$(PREFIX)/include/
	install -m 644 $(OUT)/libbraid.a $(DESTDIR)$(LIBDIR)/libbraid.a
	install -m 755 $(OUT)/libbraid.so $(DESTDIR)$(LIBDIR)/libbraid.so.$(VERSION)
	ln -sf libbraid.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libbraid.so.$(SOVERSION)
	ln -sf libbraid.so.$(SOVERSION) $(DESTDIR)$(LIBDIR)/libbraid.so
	printf 'prefix=%s\nlibdir=%s\nincludedir=$${prefix}/include\n\nName: braid\nDescription: store and ranker: what should this person watch next, and why\nVersion: %s\nLibs: -L$${libdir} -lbraid\nLibs.private: %s -pthread\nCflags: -I$${includedir}\n' \
	    "$(PREFIX)" "$(LIBDIR)" "$(VERSION)" "$(LIB_LIBS)" > $(DESTDIR)$(LIBDIR)/pkgconfig/braid.pc

# One test program a file; any helper file test/support/*.c is linked into all of them.
SUPPORT_OBJ := $(patsubst %.c,$(OUT)/%.o,$(wildcard test/support/*.c))
$(OUT)/test/%: $(OUT)/test/%.o $(SUPPORT_OBJ) $(OUT)/libinternal.a
	@mkdir -p $(@D)
	@echo "  LINK $@"
	$(Q)$(CC) $(CFLAGS_ALL) $< $(SUPPORT_OBJ) $(OUT)/libinternal.a -o $@ -lcmocka $(LIBS)

$(OUT)/bench/%: $(OUT)/bench/%.o $(OUT)/libinternal.a
	@mkdir -p $(@D)
	@echo "  LINK $@"
	$(Q)$(CC) $(CFLAGS_ALL) $< $(OUT)/libinternal.a -o $@ $(LIBS)

.SECONDARY:
-include $(LIB_OBJ:.o=.d) $(APP_OBJ:.o=.d) $(TESTS:=.d) $(wildcard $(OUT)/bench/*.d $(OUT)/test/support/*.d $(OUT)/test/fault/*.d)
