//! The Merkle tree over the ledger's rows (RFC 6962, section 2.1): what makes one short value of all of them, and lets
//! somebody who kept an earlier one see that nothing before it has changed, without the rows.
//!
//! Pure. Leaves come in one after the other and are not kept: of a tree of any size some sixty digests are.

use crate::digest::Digest;
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
        self.size += 1;
        let (mut height, mut hash) = (0, leaf);
        while let Some((_, left)) = self.whole.pop_if(|(of, _)| *of == height) {
            hash = node(left, hash);
            height += 1;
        }
        self.whole.push((height, hash));
    }

    /// How many leaves it has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its root; of an empty tree the hash of nothing.
    pub fn root(&self) -> Digest {
        let mut hashes = self.whole.iter().rev().map(|(_, hash)| *hash);
        match hashes.next() {
            None => Digest::of(&[]),
            Some(last) => hashes.fold(last, |right, left| node(left, right)),
        }
    }
}

/// Gathers the proof that a tree is an earlier one with leaves added, while the leaves go by.
#[derive(Clone, Debug)]
pub struct ConsistencyProof {
    /// The subtrees whose roots it is, in the proof's order, and what has gone by of each.
    parts: Vec<(Range<u64>, Tree)>,
    next: u64,
}

impl ConsistencyProof {
    /// From a tree of `earlier` leaves to one of `later`. Empty where either is empty, or both are one.
    pub fn new(earlier: u64, later: u64) -> Self {
        let mut ranges = Vec::new();
        if earlier > 0 && earlier < later {
            subproof(earlier, 0..later, true, &mut ranges);
        }
        Self {
            parts: ranges.into_iter().map(|range| (range, Tree::default())).collect(),
            next: 0,
        }
    }

    /// The next leaf goes by.
    pub fn push(&mut self, leaf: Digest) {
        for (range, tree) in &mut self.parts {
            if range.contains(&self.next) {
                tree.push(leaf);
            }
        }
        self.next += 1;
    }

    /// The proof, once all leaves have gone by.
    pub fn finish(self) -> Vec<Digest> {
        self.parts.iter().map(|(_, tree)| tree.root()).collect()
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
    // The largest power of two below the size.
    let half = 1_u64 << (63 - (size - 1).leading_zeros());
    let middle = of.start + half;
    if earlier <= half {
        subproof(earlier, of.start..middle, is_known, ranges);
        ranges.push(middle..of.end);
    } else {
        subproof(earlier - half, middle..of.end, false, ranges);
        ranges.push(of.start..middle);
    }
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

    /// Vectors of certificate transparency's reference implementation (its merkle_tree_test: eight leaves).
    #[test]
    fn the_roots_are_those_of_certificate_transparency() {
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
        let leaves = inputs.map(leaf);
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
