// Removals are forgotten after a day: these find the old ones.
CREATE INDEX braid_removed_at IF NOT EXISTS FOR (t:Removed) ON (t.at);
CREATE INDEX braid_removed_relation_at IF NOT EXISTS FOR (t:RemovedRelation) ON (t.at);
