import org.mustangproject.validator.ZUGFeRDValidator;

/** Mustang on one PDF: PDF/A-3 by veraPDF, Factur-X's metadata, EN 16931. Prints its report when it finds something. */
public class Validate {
    public static void main(String[] files) {
        ZUGFeRDValidator validator = new ZUGFeRDValidator();
        String report = validator.validate(files[0]);
        if (!validator.wasCompletelyValid()) {
            System.out.println(report);
            System.exit(1);
        }
    }
}
