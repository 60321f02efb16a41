//! Functions with a known fault in the place of the extension's: what clients are told by them no
//! server that keeps the guarantees could have said.

/// A function of the extension, and the body of the one that stands in its place. The one that is in
/// schema public does what it should.
pub struct Defect {
    pub name: &'static str,
    function: &'static str,
    body: &'static str,
}

pub const ALL: &[Defect] = &[
    Defect {
        name: "a duplicate is told true now and then",
        function: "claim_once",
        body: "BEGIN RETURN public.claim_once(ns, key) OR random() < 0.1; END",
    },
    Defect {
        name: "false is said before the winner has committed",
        function: "claim_once",
        body: "BEGIN RETURN public.try_claim_once(ns, key) = 'won'; END",
    },
    Defect {
        name: "a claim is won and not written",
        function: "claim_once",
        body: "BEGIN
                   IF random() < 0.2 AND NOT public.is_claimed(ns, key) THEN RETURN true; END IF;
                   RETURN public.claim_once(ns, key);
               END",
    },
    Defect {
        name: "two keys count as one",
        function: "claim_once",
        body: "BEGIN RETURN public.claim_once(ns, left(key, -1) || '0'); END",
    },
    Defect {
        name: "claim_many returns keys of others too",
        function: "claim_many",
        body: "DECLARE won text[] := ARRAY(SELECT public.claim_many(ns, keys));
               BEGIN
                   RETURN QUERY SELECT k FROM unnest(keys) AS k GROUP BY k
                                HAVING k = ANY (won) OR random() < 0.1;
               END",
    },
    Defect {
        name: "every owner counts as the one that has claimed",
        function: "try_claim_once",
        body: "DECLARE answer text := public.try_claim_once(ns, key, timeout, ttl, owner);
               BEGIN
                   RETURN CASE WHEN answer = 'duplicate' AND owner IS NOT NULL THEN 'won' ELSE answer END;
               END",
    },
    Defect {
        name: "what is in progress counts as a duplicate",
        function: "try_claim_once",
        body: "DECLARE answer text := public.try_claim_once(ns, key, '0', ttl, owner);
               BEGIN RETURN CASE answer WHEN 'in_progress' THEN 'duplicate' ELSE answer END; END",
    },
    Defect {
        name: "is_claimed does not see every claim",
        function: "is_claimed",
        body: "BEGIN RETURN public.is_claimed(ns, key) AND random() < 0.7; END",
    },
    Defect {
        name: "claim_many does not return every key that it has won",
        function: "claim_many",
        body: "BEGIN
                   RETURN QUERY SELECT k FROM public.claim_many(ns, keys) AS k WHERE random() < 0.8;
               END",
    },
    Defect {
        name: "unclaim releases nothing",
        function: "unclaim",
        body: "BEGIN RETURN public.is_claimed(ns, key); END",
    },
    Defect {
        name: "the row is found and not locked",
        function: "with_row_lock",
        body: "BEGIN
                   RETURN QUERY SELECT (f.entity).* FROM public.find_or_create(target, key, defaults) AS f;
               END",
    },
    Defect {
        name: "the row is shown as it was before the wait for its lock",
        function: "with_row_lock",
        body: "DECLARE before record;
               BEGIN
                   SELECT (f.entity).key AS k, (f.entity).n AS n INTO before
                   FROM public.find_or_create(target, key, defaults) AS f;
                   PERFORM FROM public.with_row_lock(target, key, defaults, timeout);
                   IF FOUND THEN RETURN QUERY SELECT before.k, before.n; END IF;
               END",
    },
    Defect {
        name: "find_or_create does not lock",
        function: "find_or_create",
        body: "BEGIN
                   RETURN QUERY SELECT f.created, f.entity
                   FROM public.find_or_create(target, key, defaults) AS f;
               END",
    },
    Defect {
        name: "every payment counts as created",
        function: "with_payment_lock",
        body: "BEGIN
                   RETURN QUERY SELECT true, f.payment
                   FROM public.with_payment_lock(service_id, line_item_id, timeout, defaults) AS f;
               END",
    },
    Defect {
        name: "an exclusive lock is taken as a shared one",
        function: "with_lock",
        body: "BEGIN RETURN public.with_lock(ns, key, timeout, true); END",
    },
    Defect {
        name: "a lock that was not obtained counts as obtained",
        function: "with_lock",
        body: "BEGIN RETURN public.with_lock(ns, key, timeout, shared) OR true; END",
    },
    Defect {
        name: "a begin takes work over within its lease",
        function: "begin_once",
        body: "BEGIN
                   UPDATE once.work_record AS w SET lease_until = clock_timestamp()
                   WHERE w.ns = begin_once.ns AND w.key = begin_once.key AND w.state = 'r' AND random() < 0.3;
                   RETURN QUERY SELECT b.* FROM public.begin_once(ns, key, lease, wait => wait) AS b;
               END",
    },
    Defect {
        name: "a renewal says a lease that it has not written",
        function: "renew_once",
        body: "BEGIN RETURN clock_timestamp() + lease::text::interval; END",
    },
    Defect {
        name: "a stale token completes",
        function: "complete_once",
        body: "BEGIN
                   RETURN public.complete_once(ns, key, token, result);
               EXCEPTION WHEN object_not_in_prerequisite_state THEN
                   RETURN true;
               END",
    },
    Defect {
        name: "work that goes on is forgotten",
        function: "forget_once",
        body: "BEGIN
                   DELETE FROM once.work_record AS w
                   WHERE w.ns = forget_once.ns AND w.key = forget_once.key;
                   RETURN FOUND;
               END",
    },
];

impl Defect {
    /// SQL that puts the faulty function, with the signatures of the sound one, in schema planted, before public in the search_path.
    pub fn plant(&self, database: &str) -> String {
        let Defect { function, body, .. } = self;
        format!(
            "CREATE SCHEMA planted;
             DO $do$ DECLARE sound oid; BEGIN
                 FOR sound IN
                     SELECT p.oid FROM pg_proc AS p
                     WHERE p.proname = '{function}' AND p.pronamespace = 'public'::regnamespace
                         AND p.provariadic = 0 AND '\"any\"'::regtype <> ALL (p.proargtypes)
                 LOOP
                     EXECUTE format('CREATE FUNCTION planted.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L',
                         '{function}', pg_get_function_arguments(sound), pg_get_function_result(sound),
                         '#variable_conflict use_variable ' || chr(10) || $body$ {body} $body$);
                 END LOOP;
             END $do$;
             ALTER DATABASE {database} SET search_path = planted, public"
        )
    }
}
