"""focus-validator on one CSV file, by the rules of FOCUS 1.2 that come with it.

One line a rule that fails, then how many passed, failed and were skipped; exit code 1 when one fails. The validator's own
command says the same on its terminal and exits with 0 whatever it finds.
"""

import importlib.util
import os
import sys
import sysconfig
from pathlib import Path

# The validator asks for Python 3.12 for this line alone: quotes with a backslash inside an f-string (PEP 701).
CONVERTER = "focus_validator.config_objects.focus_to_duckdb_converter"
OF_PYTHON_3_12 = r'''f"'{k.replace('\"', '\"\"')}'"'''
SAME_FOR_ALL = r'''"'" + k.replace('"', '""') + "'"'''

# So that the rules of all columns that we write are tried: without a word about what they are for, they are skipped.
CRITERIA = [
    "ACCOUNT_NAMING_SUPPORTED",
    "BILLING_BASED_ON_PROVISIONED_RESOURCES_SUPPORTED",
    "MULTIPLE_BILLING_ACCOUNT_TYPES_SUPPORTED",
    "MULTIPLE_PRICING_CATEGORIES_SUPPORTED",
    "NEGOTIATED_PRICING_SUPPORTED",
    "PUBLIC_PRICE_LIST_SUPPORTED",
    "RESOURCE_TYPE_ASSIGNMENT_SUPPORTED",
    "TAGGING_SUPPORTED",
    "UNIT_PRICING_SUPPORTED",
    "USAGE_MEASUREMENT_SUPPORTED",
]


def load_converter():
    spec = importlib.util.find_spec(CONVERTER)
    source = Path(spec.origin).read_text()
    if source.count(OF_PYTHON_3_12) != 1:
        sys.exit(f"{spec.origin} is not the one of focus-validator 2.2.1")
    module = importlib.util.module_from_spec(spec)
    sys.modules[CONVERTER] = module
    exec(compile(source.replace(OF_PYTHON_3_12, SAME_FOR_ALL), spec.origin, "exec"), module.__dict__)


class Quiet:
    """Takes the place of the validator's own report."""

    def write(self, results):
        return self


def main():
    file = str(Path(sys.argv[1]).resolve())
    # It looks for its list of currencies in the folder in which it is run.
    os.chdir(sysconfig.get_path("purelib"))
    load_converter()
    from focus_validator.validator import Validator

    validator = Validator(
        data_filename=file,
        rules_version="1.2",
        rules_block_remote_download=True,
        focus_dataset="CostAndUsage",
        applicability_criteria=",".join(CRITERIA),
        output_type="console",
        output_destination=None,
    )
    validator.outputter = Quiet()
    results = validator.validate()
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for rule, result in sorted(results.by_rule_id.items()):
        if result["details"].get("skipped"):
            counts["skipped"] += 1
        elif result["ok"]:
            counts["passed"] += 1
        else:
            counts["failed"] += 1
            print(f"{rule}: {results.rules[rule].validation_criteria.must_satisfy}")
    print(", ".join(f"{number} {what}" for what, number in counts.items()))
    sys.exit(1 if counts["failed"] else 0)


if __name__ == "__main__":
    main()
