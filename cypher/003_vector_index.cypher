// What the vector store relies on. $options holds the dimension of the database, the measure (cosine), and that vectors
// are kept whole (no quantisation), so that scores are exact to single precision.
CREATE CONSTRAINT braid_media_num IF NOT EXISTS FOR (m:MediaContent) REQUIRE m.num IS UNIQUE;
CREATE CONSTRAINT braid_removed_num IF NOT EXISTS FOR (t:Removed) REQUIRE t.num IS UNIQUE;
CREATE VECTOR INDEX braid_media_embedding IF NOT EXISTS FOR (m:MediaContent) ON (m.embedding) OPTIONS $options;
