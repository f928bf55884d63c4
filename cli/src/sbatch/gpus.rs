//! `--gres=gpu:N` and `--gpus-per-node=N`: GPUs a node. A type (`gpu:a100:2`) and other resources stay sbatch's.

use super::Said;

/// Reads `--gres`.
pub fn from_gres(text: &str) -> Said<i64> {
    match text.split_once(':') {
        Some(("gpu", n)) => from_per_node(n).or_line(text),
        // "gpu" alone is one.
        None if text == "gpu" => Said::Field(1),
        _ => Said::Line(text.to_owned()),
    }
}

/// Reads `--gpus-per-node`.
pub fn from_per_node(text: &str) -> Said<i64> {
    super::number(text)
}

impl Said<i64> {
    fn or_line(self, line: &str) -> Self {
        match self {
            Self::Field(n) => Self::Field(n),
            Self::Line(_) => Self::Line(line.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_gpus_is_a_field_and_the_rest_is_sbatchs() {
        assert_eq!(from_gres("gpu:2"), Said::Field(2));
        assert_eq!(from_gres("gpu"), Said::Field(1));
        for text in ["gpu:a100:2", "gpu:2,nvme:1", "nvme:1", "none"] {
            assert_eq!(from_gres(text), Said::Line(text.to_owned()));
        }
        assert_eq!(from_per_node("3"), Said::Field(3));
        assert_eq!(from_per_node("a100:3"), Said::Line("a100:3".to_owned()));
    }
}
