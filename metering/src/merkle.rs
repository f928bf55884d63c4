//! The Merkle tree over the ledger's rows (RFC 6962, section 2.1): what makes one short value of all of them, and lets
//! somebody who kept an earlier one see that nothing before it has changed, or that one row is in it, without the rows.
//!
//! Pure. Leaves come in one after the other and are not kept: of a tree of any size some sixty digests are.

use crate::digest::Digest;
use std::collections::BTreeMap;
use std::ops::Range;

/// A leaf's hash.
pub fn leaf(canonical: &[u8]) -> Digest {
    Digest::of(&[&[0x00], canonical])
}

fn node(left: Digest, right: Digest) -> Digest {
    Digest::of(&[&[0x01], &left.0, &right.0])
}

/// A tree that grows leaf by leaf.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    /// The roots of the whole subtrees that make it up, the largest first, each with its height.
    whole: Vec<(u32, Digest)>,
}

impl Tree {
    /// Adds a leaf, by its hash.
    pub fn push(&mut self, leaf: Digest) {
        self.push_and_tell(leaf, |_, _| ());
    }

    /// Adds a leaf, and tells the root of each subtree that is whole by it, with the leaves that are in it.
    fn push_and_tell(&mut self, leaf: Digest, mut tell: impl FnMut(Leaves, Digest)) {
        self.size += 1;
        let (mut height, mut hash) = (0, leaf);
        tell((self.size - 1, self.size), hash);
        while let Some((_, left)) = self.whole.pop_if(|(of, _)| *of == height) {
            hash = node(left, hash);
            height += 1;
            tell((self.size - (1 << height), self.size), hash);
        }
        self.whole.push((height, hash));
    }

    /// How many leaves it has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its root; of an empty tree the hash of nothing.
    pub fn root(&self) -> Digest {
        self.root_from(0)
    }

    /// The root over the leaves from `first` on, where a subtree begins.
    fn root_from(&self, first: u64) -> Digest {
        let mut end = self.size;
        let mut hashes = self
            .whole
            .iter()
            .rev()
            .take_while(|(height, _)| {
                let is_in = end > first;
                end -= 1 << height;
                is_in
            })
            .map(|(_, hash)| *hash);
        match hashes.next() {
            None => Digest::of(&[]),
            Some(last) => hashes.fold(last, |right, left| node(left, right)),
        }
    }
}

/// The leaves of a subtree: the first, and the one after the last.
type Leaves = (u64, u64);

/// Gathers the roots of some subtrees of one tree, while its leaves go by. A proof is made of such roots. Each subtree is
/// whole, or reaches to the last leaf.
#[derive(Clone, Debug, Default)]
struct Subtrees {
    tree: Tree,
    /// None of those that are not whole yet.
    roots: BTreeMap<Leaves, Option<Digest>>,
}

impl Subtrees {
    fn want(&mut self, ranges: &[Range<u64>]) {
        self.roots
            .extend(ranges.iter().map(|range| ((range.start, range.end), None)));
    }

    fn push(&mut self, leaf: Digest) {
        let roots = &mut self.roots;
        self.tree.push_and_tell(leaf, |leaves, hash| {
            if let Some(root) = roots.get_mut(&leaves) {
                *root = Some(hash);
            }
        });
    }

    /// These, once all leaves have gone by.
    fn roots_of(&self, ranges: &[Range<u64>]) -> Vec<Digest> {
        let root = |range: &Range<u64>| {
            let whole = self.roots.get(&(range.start, range.end)).copied().flatten();
            whole.unwrap_or_else(|| self.tree.root_from(range.start))
        };
        ranges.iter().map(root).collect()
    }
}

/// Gathers the proof that a tree is an earlier one with leaves added, while the leaves go by.
#[derive(Clone, Debug)]
pub struct ConsistencyProof {
    subtrees: Subtrees,
    /// The subtrees whose roots it is, in the proof's order.
    parts: Vec<Range<u64>>,
}

impl ConsistencyProof {
    /// From a tree of `earlier` leaves to one of `later`. Empty where either is empty, or both are one.
    pub fn new(earlier: u64, later: u64) -> Self {
        let mut parts = Vec::new();
        if earlier > 0 && earlier < later {
            subproof(earlier, 0..later, true, &mut parts);
        }
        let mut subtrees = Subtrees::default();
        subtrees.want(&parts);
        Self { subtrees, parts }
    }

    /// The next leaf goes by.
    pub fn push(&mut self, leaf: Digest) {
        self.subtrees.push(leaf);
    }

    /// The tree of what has gone by.
    pub fn tree(&self) -> &Tree {
        &self.subtrees.tree
    }

    /// The proof, once all leaves have gone by.
    pub fn finish(self) -> Vec<Digest> {
        self.subtrees.roots_of(&self.parts)
    }
}

/// SUBPROOF of RFC 6962, section 2.1.2, as the ranges of leaves whose roots it is.
fn subproof(earlier: u64, of: Range<u64>, is_known: bool, ranges: &mut Vec<Range<u64>>) {
    let size = of.end - of.start;
    if earlier == size {
        if !is_known {
            ranges.push(of);
        }
        return;
    }
    let half = half_of(size);
    let middle = of.start + half;
    if earlier <= half {
        subproof(earlier, of.start..middle, is_known, ranges);
        ranges.push(middle..of.end);
    } else {
        subproof(earlier - half, middle..of.end, false, ranges);
        ranges.push(of.start..middle);
    }
}

/// The largest power of two below a size of two or more: so many leaves are on the left.
fn half_of(size: u64) -> u64 {
    1 << (63 - (size - 1).leading_zeros())
}

/// Gathers the proofs that some leaves are in a tree (their audit paths), while all leaves go by. Besides the proofs
/// themselves some sixty digests are kept.
#[derive(Clone, Debug)]
pub struct InclusionProofs {
    subtrees: Subtrees,
    /// Of each leaf, the subtrees whose roots are its path.
    paths: Vec<Vec<Range<u64>>>,
}

impl InclusionProofs {
    /// Of the leaves with these numbers, from 0, in a tree of `size`. Of one that is not in it the path is empty.
    pub fn new(leaves: &[u64], size: u64) -> Self {
        let paths: Vec<_> = leaves.iter().map(|leaf| path(*leaf, size)).collect();
        let mut subtrees = Subtrees::default();
        paths.iter().for_each(|path| subtrees.want(path));
        Self { subtrees, paths }
    }

    /// The next leaf goes by.
    pub fn push(&mut self, leaf: Digest) {
        self.subtrees.push(leaf);
    }

    /// The tree of what has gone by.
    pub fn tree(&self) -> &Tree {
        &self.subtrees.tree
    }

    /// The path of each leaf, from the leaf to the root, once all leaves have gone by.
    pub fn finish(self) -> Vec<Vec<Digest>> {
        let paths = self.paths.iter();
        paths.map(|path| self.subtrees.roots_of(path)).collect()
    }
}

/// PATH of RFC 9162, section 2.1.3.1, as the ranges of leaves whose roots it is, the smallest first.
fn path(leaf: u64, size: u64) -> Vec<Range<u64>> {
    let mut ranges = Vec::new();
    if leaf >= size {
        return ranges;
    }
    let mut of = 0..size;
    while of.end - of.start > 1 {
        let middle = of.start + half_of(of.end - of.start);
        if leaf < middle {
            ranges.push(middle..of.end);
            of.end = middle;
        } else {
            ranges.push(of.start..middle);
            of.start = middle;
        }
    }
    ranges.reverse();
    ranges
}

/// How many hashes lead from a leaf to the root of a tree of this size; none when the leaf is not in it.
pub fn path_length(leaf: u64, size: u64) -> Option<usize> {
    (leaf < size).then(|| path(leaf, size).len())
}

/// Whether a path leads from the leaf with this number, from 0, to the root of a tree of this size (RFC 9162, section
/// 2.1.3.2). The size must be known to be the root's: a path alone does not show that.
pub fn is_included(leaf: (u64, Digest), tree: (u64, Digest), path: &[Digest]) -> bool {
    let ((index, leaf), (size, root)) = (leaf, tree);
    if index >= size {
        return false;
    }
    let (mut fnode, mut snode) = (index, size - 1);
    let mut of_path = leaf;
    for hash in path {
        if snode == 0 {
            return false;
        }
        if fnode & 1 == 1 || fnode == snode {
            of_path = node(*hash, of_path);
            while fnode & 1 == 0 && fnode != 0 {
                fnode >>= 1;
                snode >>= 1;
            }
        } else {
            of_path = node(of_path, *hash);
        }
        fnode >>= 1;
        snode >>= 1;
    }
    snode == 0 && of_path == root
}

/// Whether a proof shows that the later tree is the earlier one with leaves added (RFC 9162, section 2.1.4.2).
pub fn is_consistent(earlier: (u64, Digest), later: (u64, Digest), proof: &[Digest]) -> bool {
    let ((first, first_root), (second, second_root)) = (earlier, later);
    if first > second {
        return false;
    }
    if first == second {
        return proof.is_empty() && first_root == second_root;
    }
    if first == 0 {
        return proof.is_empty() && first_root == Tree::default().root();
    }
    let mut path = proof.to_vec();
    if first.is_power_of_two() {
        path.insert(0, first_root);
    }
    let Some((start, rest)) = path.split_first() else {
        return false;
    };
    let (mut fnode, mut snode) = (first - 1, second - 1);
    while fnode & 1 == 1 {
        fnode >>= 1;
        snode >>= 1;
    }
    let (mut of_first, mut of_second) = (*start, *start);
    for hash in rest {
        if snode == 0 {
            return false;
        }
        if fnode & 1 == 1 || fnode == snode {
            of_first = node(*hash, of_first);
            of_second = node(*hash, of_second);
            while fnode & 1 == 0 && fnode != 0 {
                fnode >>= 1;
                snode >>= 1;
            }
        } else {
            of_second = node(of_second, *hash);
        }
        fnode >>= 1;
        snode >>= 1;
    }
    snode == 0 && of_first == first_root && of_second == second_root
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The tree of RFC 6962 as it is defined, over leaves that are all there.
    fn root_by_definition(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => Digest::of(&[]),
            [one] => *one,
            many => {
                let half = many.len().next_power_of_two() / 2;
                node(
                    root_by_definition(&many[..half]),
                    root_by_definition(&many[half..]),
                )
            }
        }
    }

    fn leaves(count: usize) -> Vec<Digest> {
        (0..count)
            .map(|number| leaf(number.to_string().as_bytes()))
            .collect()
    }

    fn tree(leaves: &[Digest]) -> Tree {
        let mut tree = Tree::default();
        leaves.iter().for_each(|leaf| tree.push(*leaf));
        tree
    }

    /// The leaves of certificate transparency's reference implementation (its merkle_tree_test).
    fn leaves_of_certificate_transparency() -> [Digest; 8] {
        let inputs: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        inputs.map(leaf)
    }

    /// The audit paths of these leaves in the tree of all.
    fn paths(of: &[u64], leaves: &[Digest]) -> Vec<Vec<Digest>> {
        let mut proofs = InclusionProofs::new(of, leaves.len() as u64);
        leaves.iter().for_each(|leaf| proofs.push(*leaf));
        assert_eq!(proofs.tree(), &tree(leaves));
        proofs.finish()
    }

    /// PATH of RFC 9162, section 2.1.3.1, as it is defined, of each of some leaves that are all there; and their root.
    fn paths_by_definition(leaves: &[Digest]) -> (Digest, Vec<Vec<Digest>>) {
        if let [one] = leaves {
            return (*one, vec![Vec::new()]);
        }
        let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
        let ((left, mut paths), (right, of_the_right)) =
            (paths_by_definition(left), paths_by_definition(right));
        paths.iter_mut().for_each(|path| path.push(right));
        paths.extend(of_the_right.into_iter().map(|mut path| {
            path.push(left);
            path
        }));
        (node(left, right), paths)
    }

    #[test]
    fn the_audit_paths_are_those_of_certificate_transparency() {
        let leaves = leaves_of_certificate_transparency();
        let vectors: [(u64, usize, &[&str]); 5] = [
            (0, 1, &[]),
            (
                0,
                8,
                &[
                    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
                ],
            ),
            (
                5,
                8,
                &[
                    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                ],
            ),
            (
                2,
                3,
                &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
            ),
            (
                1,
                5,
                &[
                    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                ],
            ),
        ];
        for (index, size, expected) in vectors {
            let found = paths(&[index], &leaves[..size]);
            let found: Vec<String> = found[0].iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "leaf {index} of {size}");
        }
    }

    /// RFC 9162, section 2.1.5: seven leaves, and the paths of four of them by the letters of its drawing.
    #[test]
    fn the_audit_paths_are_those_of_the_rfcs_example() {
        let d = leaves(7);
        let [a, b, c, dd, e, f, j] = d[..] else { panic!() };
        let (g, h, i) = (node(a, b), node(c, dd), node(e, f));
        let (k, l) = (node(g, h), node(i, j));
        assert_eq!(tree(&d).root(), node(k, l));
        assert_eq!(
            paths(&[0, 3, 4, 6], &d),
            [vec![b, h, l], vec![c, g, l], vec![f, j, k], vec![i, k]]
        );
    }

    #[test]
    fn each_leaf_of_each_tree_is_shown_to_be_in_it_and_nothing_else_is() {
        let all = leaves(130);
        for size in 1..=all.len() {
            let (of, count) = (&all[..size], size as u64);
            let (root, expected) = paths_by_definition(of);
            let numbers: Vec<u64> = (0..count).collect();
            let found = paths(&numbers, of);
            assert_eq!(found, expected, "{size} leaves");
            for ((index, leaf), path) in (0..count).zip(of.iter().copied()).zip(found) {
                let which = format!("leaf {index} of {size}");
                assert_eq!(path_length(index, count), Some(path.len()), "{which}");
                let shows = |leaf: (u64, Digest), root: Digest, path: &[Digest]| {
                    is_included(leaf, (count, root), path)
                };
                assert!(shows((index, leaf), root, &path), "{which}");
                let spoiled = |mut digest: Digest| {
                    digest.0[size % 32] ^= 1;
                    digest
                };
                assert!(
                    !shows((index, spoiled(leaf)), root, &path),
                    "{which}, another leaf"
                );
                assert!(
                    !shows((index, leaf), spoiled(root), &path),
                    "{which}, another root"
                );
                for other in [index.wrapping_sub(1), index + 1, index ^ 1, count, u64::MAX] {
                    assert!(!shows((other, leaf), root, &path), "{which}, said to be {other}");
                }
                for part in 0..path.len() {
                    let mut other = path.clone();
                    other[part] = spoiled(other[part]);
                    assert!(!shows((index, leaf), root, &other), "{which}, part {part}");
                }
                if let Some((_, shorter)) = path.split_last() {
                    assert!(!shows((index, leaf), root, shorter), "{which}, cut");
                }
                let longer = [&path[..], &[root]].concat();
                assert!(!shows((index, leaf), root, &longer), "{which}, and more");
            }
            assert!(path_length(count, count).is_none());
        }
    }

    /// Vectors of certificate transparency's reference implementation.
    #[test]
    fn the_roots_are_those_of_certificate_transparency() {
        let leaves = leaves_of_certificate_transparency();
        for (size, root) in [
            (
                0,
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            ),
            (
                1,
                "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            ),
            (
                2,
                "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            ),
            (
                3,
                "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            ),
            (
                8,
                "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
            ),
        ] {
            assert_eq!(tree(&leaves[..size]).root().to_string(), root, "{size} leaves");
        }
    }

    #[test]
    fn each_earlier_tree_is_shown_to_be_in_each_later_one() {
        let all = leaves(40);
        for later in 0..=all.len() {
            for earlier in 0..=later {
                let mut proof = ConsistencyProof::new(earlier as u64, later as u64);
                all[..later].iter().for_each(|leaf| proof.push(*leaf));
                let proof = proof.finish();
                let (first, second) = (tree(&all[..earlier]), tree(&all[..later]));
                let shows = |a: &Tree, b: &Tree, proof: &[Digest]| {
                    is_consistent((a.size(), a.root()), (b.size(), b.root()), proof)
                };
                assert!(shows(&first, &second, &proof), "{earlier} in {later}");
                if earlier > 0 && earlier < later {
                    // One leaf of before is another: no proof of that tree shows the old root.
                    let mut changed = all.clone();
                    changed[earlier - 1] = leaf(b"changed");
                    let other = tree(&changed[..later]);
                    let mut of_other = ConsistencyProof::new(earlier as u64, later as u64);
                    changed[..later].iter().for_each(|leaf| of_other.push(*leaf));
                    assert!(!shows(&first, &other, &of_other.finish()), "{earlier} in {later}");
                    assert!(!shows(&first, &other, &proof));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_tree_that_grows_has_the_root_of_the_definition(count in 0_usize..300) {
            let leaves = leaves(count);
            prop_assert_eq!(tree(&leaves).root(), root_by_definition(&leaves));
        }
    }
}
