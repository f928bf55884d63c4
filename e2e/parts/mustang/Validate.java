import org.mustangproject.validator.ZUGFeRDValidator;

/** Mustang on invoices, XML or PDF: EN 16931, Factur-X's metadata, and PDF/A-3 by veraPDF. Prints a report for each that fails. */
public class Validate {
    public static void main(String[] files) {
        boolean valid = true;
        for (String file : files) {
            ZUGFeRDValidator validator = new ZUGFeRDValidator();
            String report = validator.validate(file);
            // Its own word is that of the XML alone: the report has the PDF's part, too.
            if (!report.contains("status=\"valid\"") || report.contains("status=\"invalid\"") || report.contains("<error")) {
                System.out.println(report);
                valid = false;
            }
        }
        System.exit(valid ? 0 : 1);
    }
}
