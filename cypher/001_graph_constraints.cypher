// What the graph store relies on. MERGE alone does not keep two transactions from making the same node twice; a
// uniqueness constraint does, and is the index by which every statement finds its nodes. The program makes these when it
// starts, and refuses to start without them. Each may be run again at any time.
CREATE CONSTRAINT braid_media_num IF NOT EXISTS FOR (m:MediaContent) REQUIRE m.num IS UNIQUE;
CREATE CONSTRAINT braid_media_id IF NOT EXISTS FOR (m:MediaContent) REQUIRE m.id IS UNIQUE;
CREATE CONSTRAINT braid_genre_name IF NOT EXISTS FOR (f:Genre) REQUIRE f.name IS UNIQUE;
CREATE CONSTRAINT braid_theme_name IF NOT EXISTS FOR (f:Theme) REQUIRE f.name IS UNIQUE;
CREATE CONSTRAINT braid_mood_name IF NOT EXISTS FOR (f:Mood) REQUIRE f.name IS UNIQUE;
CREATE CONSTRAINT braid_context_region IF NOT EXISTS FOR (f:CulturalContext) REQUIRE f.region IS UNIQUE;
CREATE CONSTRAINT braid_person_name IF NOT EXISTS FOR (f:Person) REQUIRE f.name IS UNIQUE;
// What was removed, so that a change that comes late does not bring it back.
CREATE CONSTRAINT braid_removed_num IF NOT EXISTS FOR (t:Removed) REQUIRE t.num IS UNIQUE;
CREATE CONSTRAINT braid_removed_relation IF NOT EXISTS FOR (t:RemovedRelation) REQUIRE (t.from, t.to, t.type) IS UNIQUE;
