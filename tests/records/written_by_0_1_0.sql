BEGIN TRANSACTION;
CREATE TABLE answers (
	id VARCHAR NOT NULL, 
	turn_id VARCHAR NOT NULL, 
	number INTEGER NOT NULL, 
	strategy VARCHAR NOT NULL, 
	status VARCHAR NOT NULL, 
	owner VARCHAR NOT NULL, 
	text VARCHAR NOT NULL, 
	evidence JSON NOT NULL, 
	off_topic BOOLEAN NOT NULL, 
	prompt JSON NOT NULL, 
	trimming JSON, 
	first_token_seconds DOUBLE, 
	total_seconds DOUBLE, 
	prompt_tokens INTEGER NOT NULL, 
	answer_tokens INTEGER NOT NULL, 
	fingerprint JSON, 
	error VARCHAR NOT NULL, 
	cure VARCHAR NOT NULL, 
	vote INTEGER NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(turn_id) REFERENCES turns (id) ON DELETE CASCADE
);
INSERT INTO "answers" VALUES('a1','t1',0,'prompt','complete','o1','It’s 1,450 pounds.','[]',0,'[{"role": "user", "content": "What?"}]',NULL,NULL,NULL,0,0,'{"seed": 7}','','',1);
INSERT INTO "answers" VALUES('a2','t1',1,'rag','queued','o1','','[]',0,'[]',NULL,NULL,NULL,0,0,NULL,'','',0);
CREATE TABLE conversations (
	id VARCHAR NOT NULL, 
	title VARCHAR NOT NULL, 
	created_at VARCHAR NOT NULL, 
	updated_at VARCHAR NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "conversations" VALUES('c1','Kilns','2026-11-21T05:57:44.137129+00:00','2026-11-21T05:57:44.137129+00:00');
CREATE TABLE documents (
	name VARCHAR NOT NULL, 
	sha256 VARCHAR NOT NULL, 
	title VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	size_bytes INTEGER NOT NULL, 
	modified_ns INTEGER NOT NULL, 
	layout VARCHAR NOT NULL, 
	status VARCHAR NOT NULL, 
	error VARCHAR NOT NULL, 
	duplicate_of VARCHAR NOT NULL, 
	updated_at VARCHAR NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "documents" VALUES('rules.md','s1','Rules','md',7,1700000000123456789,'1','ready','','','2026-11-21T05:57:44+00:00');
CREATE TABLE keyword_lengths (
	passage_id VARCHAR NOT NULL, 
	length INTEGER NOT NULL, 
	PRIMARY KEY (passage_id)
);
INSERT INTO "keyword_lengths" VALUES('s1-0000',2);
CREATE TABLE keyword_postings (
	term VARCHAR NOT NULL, 
	passage_id VARCHAR NOT NULL, 
	count INTEGER NOT NULL, 
	PRIMARY KEY (term, passage_id)
);
INSERT INTO "keyword_postings" VALUES('shut','s1-0000',1);
INSERT INTO "keyword_postings" VALUES('lid','s1-0000',1);
CREATE TABLE passages (
	id VARCHAR NOT NULL, 
	sha256 VARCHAR NOT NULL, 
	document VARCHAR NOT NULL, 
	title VARCHAR NOT NULL, 
	heading VARCHAR NOT NULL, 
	page INTEGER, 
	number INTEGER NOT NULL, 
	text VARCHAR NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "passages" VALUES('s1-0000','s1','rules.md','Rules','Lid',NULL,0,'Shut the lid.');
CREATE TABLE turns (
	id VARCHAR NOT NULL, 
	conversation_id VARCHAR NOT NULL, 
	number INTEGER NOT NULL, 
	question VARCHAR NOT NULL, 
	asked_at VARCHAR NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(conversation_id) REFERENCES conversations (id) ON DELETE CASCADE
);
INSERT INTO "turns" VALUES('t1','c1',0,'What does the Heron 5 cost?','2026-11-21T05:57:44.137129+00:00');
CREATE INDEX ix_conversations_updated_at ON conversations (updated_at);
CREATE INDEX ix_documents_sha256 ON documents (sha256);
CREATE INDEX passages_of_content ON passages (sha256, number);
CREATE INDEX ix_keyword_postings_passage_id ON keyword_postings (passage_id);
CREATE INDEX ix_turns_conversation_id ON turns (conversation_id);
CREATE INDEX ix_answers_status ON answers (status);
CREATE INDEX ix_answers_turn_id ON answers (turn_id);
COMMIT;
