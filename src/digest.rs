//! The digests that stand for names: frozen, since stored claims depend on them.

/// What stands for a name in the primary key of its claim or work: the first 12 bytes of the BLAKE3
/// hash of the length-prefixed namespace and key.
pub fn name(ns: &[u8], key: &[u8]) -> [u8; 12] {
    first(hash(&[ns, key]))
}

/// Digests many names of one namespace.
pub struct Names {
    /// What is hashed: the namespace, which stays, and a key, each behind its length.
    text: Vec<u8>,
    namespace: usize,
}

impl Names {
    pub fn of(ns: &[u8]) -> Self {
        let mut text = (ns.len() as u32).to_le_bytes().to_vec();
        text.extend(ns);
        Self {
            namespace: text.len(),
            text,
        }
    }

    pub fn name(&mut self, key: &[u8]) -> [u8; 12] {
        self.text.truncate(self.namespace);
        self.text.extend((key.len() as u32).to_le_bytes());
        self.text.extend(key);
        first(blake3::hash(&self.text))
    }
}

/// What stands for the owner of a claim: the first 16 bytes of the hash of namespace, key and owner,
/// so that one owner's claims do not show that they are the same owner's.
pub fn owner(ns: &[u8], key: &[u8], owner: &[u8]) -> [u8; 16] {
    first(hash(&[ns, key, owner]))
}

/// What stands for a namespace, in memory only.
pub fn namespace(ns: &[u8]) -> [u8; 16] {
    first(hash(&[ns]))
}

/// What stands for a request of work: two requests with one digest count as equal. Its text comes in
/// pieces, which are hashed as one part.
pub fn request<'a>(pieces: impl Iterator<Item = &'a str> + Clone) -> [u8; 16] {
    let length: usize = pieces.clone().map(str::len).sum();
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(length as u32).to_le_bytes());
    for piece in pieces {
        hasher.update(piece.as_bytes());
    }
    first(hasher.finalize())
}

/// The number of a named lock or of the turn to create a row: a collision makes two names wait for
/// each other, and nothing else.
///
/// Everybody can read the numbers in pg_locks. Without the cluster's secret nobody can compute the
/// number of a guessed name, and one name has different numbers in different databases.
pub fn lock(secret: &[u8; 32], database: u32, parts: &[&[u8]]) -> u64 {
    const PURPOSE: &[u8] = b"pg_once lock";
    let mut hasher = blake3::Hasher::new_keyed(secret);
    hasher.update(PURPOSE);
    hasher.update(&database.to_le_bytes());
    let mut number = [0; 8];
    number.copy_from_slice(&hash_in_pieces(hasher, parts).as_bytes()[..8]);
    u64::from_le_bytes(number)
}

/// Each part is preceded by its length, so that no two lists of parts are hashed as one. Short ones
/// are put together first: hashing in one piece costs less.
fn hash(parts: &[&[u8]]) -> blake3::Hash {
    let mut short = [0; 256];
    let mut room = &mut short[..];
    for part in parts {
        let length = (part.len() as u32).to_le_bytes();
        if room.len() < length.len() + part.len() {
            return hash_in_pieces(blake3::Hasher::new(), parts);
        }
        for bytes in [&length, *part] {
            let (place, rest) = std::mem::take(&mut room).split_at_mut(bytes.len());
            place.copy_from_slice(bytes);
            room = rest;
        }
    }
    let left = room.len();
    blake3::hash(&short[..short.len() - left])
}

fn hash_in_pieces(mut hasher: blake3::Hasher, parts: &[&[u8]]) -> blake3::Hash {
    for part in parts {
        hasher.update(&(part.len() as u32).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize()
}

fn first<const LENGTH: usize>(hash: blake3::Hash) -> [u8; LENGTH] {
    let mut first = [0; LENGTH];
    first.copy_from_slice(&hash.as_bytes()[..LENGTH]);
    first
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex<const LENGTH: usize>(digest: [u8; LENGTH]) -> String {
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn frozen_vectors() {
        assert_eq!(
            hex(name(b"ci_failure", b"4711")),
            "39faad5b9890ac945f158d54"
        );
        assert_eq!(hex(name(b"a", b"bc")), "b379faa86a52cdb0235e942b");
        let accented = name(b"stripe", "\u{e9}vt".as_bytes());
        assert_eq!(hex(accented), "81c4ec50a071403834629054");
        assert_eq!(
            hex(owner(b"ci_failure", b"4711", b"worker 1")),
            "cac59f999aae2b8d144150127e14410d"
        );
        assert_eq!(
            hex(request([r#"{"a": 1}"#].into_iter())),
            "1052e36260541f6e8cd83105362dbe48"
        );
        assert_eq!(
            hex(request([r#"{"a""#, ": ", "1", "}"].into_iter())),
            "1052e36260541f6e8cd83105362dbe48"
        );
    }

    #[test]
    fn frozen_vectors_of_locks() {
        let parts: [&[u8]; 2] = [b"a", b"bc"];
        assert_eq!(lock(&[7; 32], 5, &parts), 18_390_980_284_320_204_573);
    }

    #[test]
    fn a_lock_is_of_one_cluster_and_one_database() {
        let parts: [&[u8]; 2] = [b"a", b"bc"];
        let number = lock(&[7; 32], 5, &parts);
        assert_ne!(number, lock(&[8; 32], 5, &parts));
        assert_ne!(number, lock(&[7; 32], 6, &parts));
        assert_ne!(number, lock(&[7; 32], 5, &[b"ab", b"c"]));
    }

    proptest! {
        #[test]
        fn many_are_digested_as_one_is(ns in any::<Vec<u8>>(), keys in any::<[Vec<u8>; 3]>()) {
            let mut many = Names::of(&ns);
            for key in &keys {
                prop_assert_eq!(many.name(key), name(&ns, key));
            }
        }
    }

    #[test]
    fn short_and_long_parts_are_hashed_alike() {
        let text = [7; 300];
        for length in 0..300 {
            let parts: [&[u8]; 2] = [b"ns", &text[..length]];
            let in_pieces = hash_in_pieces(blake3::Hasher::new(), &parts);
            assert_eq!(hash(&parts), in_pieces, "{length}");
        }
    }

    #[test]
    fn the_border_between_namespace_and_key_counts() {
        assert_ne!(name(b"a", b"bc"), name(b"ab", b"c"));
    }
}
