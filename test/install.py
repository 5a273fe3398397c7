#!/usr/bin/env python3
"""`make install` into an empty folder, then examples/hello.c built against what was installed, shared and static, and run.

Also: the libraries show braid_* and nothing else, and the header compiles alone as C17 and as C++."""
import os, re, shutil, subprocess, sys, tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
results = []


def run(*command, **kw):
    return subprocess.run(command, capture_output=True, text=True, cwd=kw.pop("cwd", ROOT), timeout=600, **kw)


def claim(name, ok, detail=""):
    results.append(bool(ok))
    if not ok:
        print(f"FAILED {name}: {detail[-1500:]}")


def symbols(path, *flags):
    out = run("nm", *flags, "--defined-only", path).stdout
    return {m[1] for m in re.finditer(r"^\w+ [TDBRVWi] (\S+)$", out, re.M)}


def main():
    folder = tempfile.mkdtemp(prefix="braid-install-")
    prefix = os.path.join(folder, "usr")
    try:
        p = run("make", "--no-print-directory", "install", f"PREFIX={prefix}")
        claim("make install works in an empty folder", p.returncode == 0, p.stdout + p.stderr)
        lib = os.path.join(prefix, "lib")
        for name, flags in (("libbraid.so", ("-D",)), ("libbraid.a", ("-g",))):
            seen = symbols(os.path.join(lib, name), *flags)
            strange = sorted(s for s in seen if not s.startswith("braid_"))
            claim(f"{name} shows braid_* only", seen and not strange, f"{strange[:10]}")
            claim(f"{name} shows braid_open and braid_run", {"braid_open", "braid_run"} <= seen, f"{len(seen)} symbols")
        env = dict(os.environ, PKG_CONFIG_PATH=os.path.join(lib, "pkgconfig"), LD_LIBRARY_PATH=lib)
        flags = run("pkg-config", "--cflags", "--libs", "braid", env=env).stdout.split()
        static = run("pkg-config", "--cflags", "--libs", "--static", "braid", env=env).stdout.split()
        claim("pkg-config knows braid", any("-lbraid" in f for f in flags), " ".join(flags))
        hello = os.path.join(ROOT, "examples", "hello.c")
        for kind, arguments in (("shared", flags), ("static", [f if f != "-lbraid" else os.path.join(lib, "libbraid.a") for f in static])):
            program = os.path.join(folder, "hello-" + kind)
            p = run("cc", "-std=c17", "-Wall", "-Wextra", "-Werror", hello, "-o", program, *arguments, env=env)
            claim(f"hello.c builds against the {kind} library", p.returncode == 0, p.stderr)
            p = run(program, cwd=folder, env=env) if os.path.exists(program) else p
            claim(f"hello.c runs with the {kind} library and prints a reason", p.returncode == 0 and "parce que" in p.stdout.lower() or "because" in p.stdout.lower(),
                  p.stdout + p.stderr)
        for language, standard in (("c", "c17"), ("c++", "c++17")):
            p = run("cc", "-x", language, f"-std={standard}", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{prefix}/include", "-", input="#include <braid.h>\n")
            claim(f"braid.h compiles alone as {standard}", p.returncode == 0, p.stderr)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
