//! Words for a POSIX shell. sshd hands a command to a shell as one text, so what was an argument must come out of that
//! text as the same argument, whatever bytes it holds.
//!
//! Between single quotes a shell reads nothing but the next single quote (POSIX.1-2017, Shell Command Language, 2.2.2).

use std::os::unix::ffi::OsStrExt;

/// What no argument of a program can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an argument of the command holds a NUL byte, which no program can be given: leave it out")]
pub(in crate::slurm) struct HoldsNul;

/// Words as one text that a shell reads as these very words.
pub(in crate::slurm) fn quoted<S: AsRef<std::ffi::OsStr>>(
    words: impl IntoIterator<Item = S>,
) -> Result<Vec<u8>, HoldsNul> {
    let mut text = Vec::new();
    for word in words {
        let word = word.as_ref().as_bytes();
        if word.contains(&0) {
            return Err(HoldsNul);
        }
        if !text.is_empty() {
            text.push(b' ');
        }
        text.push(b'\'');
        for byte in word {
            if *byte == b'\'' {
                text.extend_from_slice(br"'\''");
            } else {
                text.push(*byte);
            }
        }
        text.push(b'\'');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::ffi::OsStr;
    use std::process::Command;

    /// The arguments that a shell makes of a text.
    fn read_by_sh(text: &[u8]) -> Vec<Vec<u8>> {
        let mut script = br#"for word in "$@"; do printf '%s\0' "$word"; done"#.to_vec();
        let mut set = b"set -- ".to_vec();
        set.extend_from_slice(text);
        set.push(b'\n');
        set.append(&mut script);
        let output = Command::new("/bin/sh")
            .arg("-c")
            .arg(OsStr::from_bytes(&set))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let mut words: Vec<Vec<u8>> = output.stdout.split(|b| *b == 0).map(<[u8]>::to_vec).collect();
        words.pop();
        words
    }

    #[test]
    fn an_argument_with_a_nul_byte_is_refused_with_a_sentence() {
        let error = quoted(["ok", "a\0b"]).unwrap_err().to_string();
        assert!(error.contains("NUL byte"), "{error}");
    }

    #[test]
    fn what_shells_act_on_is_left_as_it_is() {
        let words = [
            "",
            "it's",
            "$(reboot)",
            "`id`",
            "a b\n",
            "\\",
            "'",
            "''",
            "-x",
            "~",
            "*",
            "!",
            "\u{81}é",
            "\n",
        ];
        let text = quoted(words).unwrap();
        let read: Vec<String> = read_by_sh(&text)
            .into_iter()
            .map(|word| String::from_utf8(word).unwrap())
            .collect();
        assert_eq!(read, words);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn whatever_bytes_an_argument_holds_a_shell_gives_it_on(
            words in proptest::collection::vec(proptest::collection::vec(1_u8..=255, 0..40), 1..6)
        ) {
            let text = quoted(words.iter().map(|word| OsStr::from_bytes(word))).unwrap();
            prop_assert_eq!(read_by_sh(&text), words);
        }
    }
}
