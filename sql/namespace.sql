/* What is configured where Citus has several nodes: each reads it, those too that are added later. A role has another
   number on each, so it is known by its name; an empty one is nobody's. It has no triggers, which Citus would refuse.
   Made before once.access_policy, as calls lock both. */
CREATE TABLE once.access_policy_shared (
    ns           pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    ttl          pg_catalog.interval,
    allowed_role pg_catalog.text COLLATE pg_catalog."C",
    CONSTRAINT access_policy_shared_pkey PRIMARY KEY (ns),
    CONSTRAINT access_policy_shared_ns CHECK (pg_catalog.octet_length(ns) OPERATOR(pg_catalog.>=) 1 AND pg_catalog.octet_length(ns) OPERATOR(pg_catalog.<=) 128)
);
COMMENT ON TABLE once.access_policy_shared IS 'The policy of namespaces on several nodes of Citus: written by once.configure and once.unconfigure only';
COMMENT ON COLUMN once.access_policy_shared.ns IS 'Namespace, 1 to 128 bytes';
COMMENT ON COLUMN once.access_policy_shared.ttl IS 'As in once.access_policy';
COMMENT ON COLUMN once.access_policy_shared.allowed_role IS 'The name of the role that, with its members, may use the namespace; every role where null, nobody where empty';

SELECT pg_catalog.pg_extension_config_dump('once.access_policy_shared', '');

/* What is configured. A namespace that is not here is open to every role that has EXECUTE. */
CREATE TABLE once.access_policy (
    ns           pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
    ttl          pg_catalog.interval,
    allowed_role pg_catalog.regrole,
    CONSTRAINT access_policy_pkey PRIMARY KEY (ns),
    CONSTRAINT access_policy_ns CHECK (pg_catalog.octet_length(ns) OPERATOR(pg_catalog.>=) 1 AND pg_catalog.octet_length(ns) OPERATOR(pg_catalog.<=) 128)
);
COMMENT ON TABLE once.access_policy IS 'The policy of namespaces: written by once.configure and once.unconfigure only';
COMMENT ON COLUMN once.access_policy.ns IS 'Namespace, 1 to 128 bytes';
COMMENT ON COLUMN once.access_policy.ttl IS 'How long claims last that name no period of their own, and how long work that is over is remembered; for ever where null';
COMMENT ON COLUMN once.access_policy.allowed_role IS 'The role that, with its members, may use the namespace; every role where null';

SELECT pg_catalog.pg_extension_config_dump('once.access_policy', '');

CREATE FUNCTION once.configure(ns pg_catalog.text, ttl once.duration DEFAULT NULL, allowed_role pg_catalog.regrole DEFAULT NULL) RETURNS pg_catalog.bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'configure_wrapper';
COMMENT ON FUNCTION once.configure(pg_catalog.text, once.duration, pg_catalog.regrole) IS
    'Says how long claims of the namespace last and how long work that is over is remembered (ttl), and which role with its members may use it (allowed_role). Always true. NULL leaves that part as it is. Counts as of commit, for all calls that begin later. A role that is dropped leaves the namespace closed. For the owner of the extension or of the database. Errors: 22004 for a NULL ns, 22023 for an empty or too long ns (128 bytes), a ttl that is not positive and at most 10 years, or a role that does not exist, 42501, 25006 in a read-only transaction.';

CREATE FUNCTION once.unconfigure(ns pg_catalog.text) RETURNS pg_catalog.bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'unconfigure_wrapper';
COMMENT ON FUNCTION once.unconfigure(pg_catalog.text) IS
    'Forgets what once.configure said of the namespace: it is open to every role, and claims that are made from then on last for ever. True if there was something to forget. For the owner of the extension or of the database. Errors: 22004 for NULL, 22023 for an empty or too long ns (128 bytes), 42501, 25006 in a read-only transaction.';

CREATE FUNCTION once.may_use(ns pg_catalog.text) RETURNS pg_catalog.bool
    LANGUAGE c STABLE PARALLEL UNSAFE COST 10
    AS 'MODULE_PATHNAME', 'may_use_wrapper';
COMMENT ON FUNCTION once.may_use(pg_catalog.text) IS
    'Whether current_user may use the namespace, by the newest committed configuration and that of the own transaction. NULL for NULL. The views of schema once show what it allows.';

CREATE FUNCTION once.distribute() RETURNS pg_catalog.bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'distribute_wrapper';
COMMENT ON FUNCTION once.distribute() IS
    'Distributes claims, work and the policies of this node over all nodes of Citus, those too that are added later. On the coordinator, for a superuser. True if there was something to distribute: it can be called again. Errors: 55000 without the extension citus, 42501, and what Citus raises.';

CREATE FUNCTION once.namespace_changed() RETURNS pg_catalog.trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'namespace_changed_wrapper';
COMMENT ON FUNCTION once.namespace_changed() IS
    'Trigger of once.access_policy: tells all sessions, as of commit, that the configuration has changed.';

CREATE FUNCTION once.namespace_written() RETURNS pg_catalog.trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
    AS 'MODULE_PATHNAME', 'namespace_written_wrapper';
COMMENT ON FUNCTION once.namespace_written() IS
    'Trigger of once.access_policy: closes for good what a restored dump gives to a role that no longer exists.';

CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON once.access_policy
    FOR EACH ROW EXECUTE FUNCTION once.namespace_changed();
CREATE TRIGGER written AFTER INSERT OR UPDATE ON once.access_policy
    FOR EACH STATEMENT EXECUTE FUNCTION once.namespace_written();
/* Also for what logical replication writes. */
ALTER TABLE once.access_policy ENABLE ALWAYS TRIGGER changed;
ALTER TABLE once.access_policy ENABLE ALWAYS TRIGGER written;
