//! Where everything stands on the pages of a document. Pure: ink out, no file.

use super::french;
use super::ink::{Face, Faces, Ink, Milli, PAPER_HEIGHT, PAPER_WIDTH, Shade, Style};
use crate::invoice::document::{Ahead, Purpose, ValidInvoice, VatCategory, VatSum};
use crate::invoice::issued::{InvoiceNumber, IssuedInvoice};
use crate::invoice::line::{InvoiceLine, Unit};
use crate::invoice::mentions::{BELOW_NOTHING, CALL, PREPAYMENT, TO_BE_PAID_BACK, mentions};
use crate::invoice::party::Address;
use crate::money::Cents;
use jiff::civil::Date;

const LEFT: Milli = 48_000;
const RIGHT: Milli = PAPER_WIDTH - 48_000;
const TOP: Milli = 52_000;
/// The last line above the foot.
const BOTTOM: Milli = PAPER_HEIGHT - 64_000;
/// The buyer's address: where the window of a French envelope is.
const WINDOW: Milli = 311_000;

const TITLE: Style = style(Face::Bold, 20_000, Shade::Blue);
const NAME: Style = style(Face::Bold, 11_000, Shade::Black);
const TEXT: Style = style(Face::Regular, 9_000, Shade::Black);
const STRONG: Style = style(Face::Bold, 9_000, Shade::Black);
const SMALL: Style = style(Face::Regular, 7_500, Shade::Black);
const BESIDE: Style = style(Face::Regular, 7_500, Shade::Grey);
const TOTAL: Style = style(Face::Bold, 11_000, Shade::Black);

const fn style(face: Face, size: Milli, shade: Shade) -> Style {
    Style { face, size, shade }
}

/// The right edges of the columns of numbers.
const QUANTITY: Milli = 330_000;
const PRICE: Milli = 408_000;
const RATE: Milli = 460_000;
const AMOUNT: Milli = RIGHT;
/// Where the text of a line begins, and its width.
const WORDS: Milli = LEFT + 22_000;
const WORDS_WIDTH: Milli = 196_000;

/// The year's bars: how high they are together, and from one to the next.
const BARS_HIGH: Milli = 34_000;
const BAR_STEP: Milli = 22_000;

/// The pages of a document.
pub(super) fn pages(issued: &IssuedInvoice, faces: &Faces<'_>) -> Vec<Vec<Ink>> {
    let mut sheet = Sheet {
        faces,
        pages: vec![Vec::new()],
        y: TOP,
    };
    sheet.head(issued);
    sheet.references(issued);
    sheet.table_head();
    for line in issued.document().lines() {
        sheet.line(line);
    }
    sheet.sums(issued.document());
    sheet.payment(issued);
    sheet.year(issued.document());
    sheet.mentions(issued.document());
    sheet.feet(issued);
    sheet.pages
}

struct Sheet<'a> {
    faces: &'a Faces<'a>,
    pages: Vec<Vec<Ink>>,
    y: Milli,
}

impl Sheet<'_> {
    fn put(&mut self, ink: Ink) {
        if let Some(page) = self.pages.last_mut() {
            page.push(ink);
        }
    }

    fn text(&mut self, x: Milli, y: Milli, style: Style, text: &str) {
        let text = self.faces.writable(style.face, text);
        self.put(Ink::Text { x, y, style, text });
    }

    /// Ending at `x`.
    fn text_to(&mut self, x: Milli, y: Milli, style: Style, text: &str) {
        let width = self.faces.width(style, text);
        self.text(x - width, y, style, text);
    }

    fn wrapped(&mut self, x: Milli, style: Style, width: Milli, step: Milli, text: &str) {
        for line in self.faces.wrap(style, text, width) {
            self.text(x, self.y, style, &line);
            self.y += step;
        }
    }

    fn rule(&mut self, y: Milli, shade: Shade, height: Milli) {
        self.put(Ink::Box {
            x: LEFT,
            y,
            width: RIGHT - LEFT,
            height,
            shade,
        });
    }

    /// Goes on on a new page when less than this is left of this one.
    fn room(&mut self, height: Milli, table: bool) {
        if self.y + height <= BOTTOM {
            return;
        }
        self.pages.push(Vec::new());
        self.y = TOP;
        if table {
            self.table_head();
        }
    }

    fn head(&mut self, issued: &IssuedInvoice) {
        let document = issued.document();
        let (seller, buyer) = (document.seller(), document.buyer());
        self.title_and_number(issued);

        self.y = TOP + 4_000;
        self.wrapped(LEFT, NAME, WINDOW - LEFT - 20_000, 13_000, &seller.name);
        let of_seller = [
            seller.legal_form.clone(),
            seller.address.street.clone(),
            town(&seller.address),
            format!("SIRET {}", french::siret(&seller.siret)),
            format!("TVA / VAT {}", seller.vat_number),
        ];
        for text in of_seller {
            self.wrapped(LEFT, TEXT, WINDOW - LEFT - 20_000, 11_500, &text);
        }
        let under_seller = self.y;

        self.y = TOP + 62_000;
        self.text(WINDOW, self.y, BESIDE, "Client / Customer");
        self.y += 14_000;
        self.wrapped(WINDOW, NAME, RIGHT - WINDOW, 13_000, &buyer.name);
        for text in [buyer.address.street.clone(), town(&buyer.address)] {
            self.wrapped(WINDOW, TEXT, RIGHT - WINDOW, 11_500, &text);
        }
        self.y += 2_000;
        let siret = format!("SIRET {}", french::siret(&buyer.siret));
        self.text(WINDOW, self.y, SMALL, &siret);
        self.y += 10_000;
        if let Some(number) = &buyer.vat_number {
            self.text(WINDOW, self.y, SMALL, &format!("TVA / VAT {number}"));
            self.y += 10_000;
        }
        self.y = self.y.max(under_seller) + 14_000;
    }

    fn title_and_number(&mut self, issued: &IssuedInvoice) {
        let (title, title_en) = title(issued.document());
        let titles = self.faces.wrap(TITLE, title, RIGHT - WINDOW);
        let (mut y, mut after) = (TOP - 13_000, WINDOW);
        for text in titles {
            y += 21_000;
            self.text(WINDOW, y, TITLE, &text);
            after = WINDOW + self.faces.width(TITLE, &text) + 8_000;
        }
        if after + self.faces.width(BESIDE, title_en) <= RIGHT {
            self.text(after, y, BESIDE, title_en);
        } else {
            y += 10_000;
            self.text(WINDOW, y, BESIDE, title_en);
            y -= 6_000;
        }
        let number = format!("n° {}", issued.number());
        self.text(WINDOW, y + 18_000, NAME, &number);
    }

    /// Days, period and the buyer's references, two beside each other.
    fn references(&mut self, issued: &IssuedInvoice) {
        let document = issued.document();
        let buyer = document.buyer();
        let month = document.month();
        let last = document.purpose().until().unwrap_or(month);
        let period = format!(
            "{} – {}",
            french::day(month.first_day()),
            french::day(last.last_day())
        );
        let mut fields = vec![("Date d'émission", "Issued on", french::day(issued.issued_on()))];
        if let Some(due) = issued.due_on() {
            fields.push(("Date d'échéance", "Due on", french::day(due)));
        }
        fields.push(match document.purpose().ahead() {
            None => ("Période facturée", "Billing period", period),
            Some(_) => ("Période appelée", "Period called", period),
        });
        let optional = [
            ("Code service", "Service code", &buyer.service_code),
            ("N° d'engagement", "Purchase order", &buyer.engagement_number),
            ("Convention", "Contract", &buyer.contract),
        ];
        for (label, label_en, value) in optional {
            fields.extend(value.clone().map(|value| (label, label_en, value)));
        }
        let is_call = !document.purpose().is_invoice();
        if let Some(number) = document.purpose().replaces() {
            fields.push(if is_call {
                ("Remplace l'appel", "Replaces call", number.to_string())
            } else {
                ("Remplace la facture", "Replaces invoice", number.to_string())
            });
        }
        // Those that a month gives back of may be many: below, over the whole width.
        if let Purpose::CreditNote {
            corrects,
            corrected_on,
            ..
        } = document.purpose()
        {
            let cited = cited(corrects, *corrected_on);
            fields.push(if is_call {
                ("Appel annulé", "Call taken back", cited)
            } else {
                ("Facture corrigée", "Corrected invoice", cited)
            });
        }
        self.rule(self.y, Shade::Blue, 700);
        self.y += 15_000;
        let column = (RIGHT - LEFT) / 3;
        for row in fields.chunks(3) {
            let mut under = self.y;
            for ((label, label_en, value), place) in row.iter().zip(0..) {
                let x = LEFT + column * place;
                self.text(x, self.y, BESIDE, &format!("{label} / {label_en}"));
                let mut y = self.y + 12_000;
                for text in self.faces.wrap(STRONG, value, column - 8_000) {
                    self.text(x, y, STRONG, &text);
                    y += 11_000;
                }
                under = under.max(y);
            }
            self.y = under + 6_000;
        }
        match document.purpose() {
            Purpose::CreditNote { reason, .. } => {
                self.across(&format!("Motif / Reason : {reason}"));
                self.y += 8_000;
            }
            Purpose::MonthCredit { corrects } => {
                let all: Vec<String> = corrects
                    .iter()
                    .map(|one| cited(&one.number, one.issued_on))
                    .collect();
                self.across(&format!(
                    "Factures corrigées / Corrected invoices : {}",
                    all.join(", ")
                ));
                self.across(&format!(
                    "Motif / Reason : {} / {}",
                    BELOW_NOTHING.french, BELOW_NOTHING.english
                ));
                self.y += 8_000;
            }
            Purpose::Invoice { .. } => {
                let prepayments: Vec<String> = document
                    .advances()
                    .iter()
                    .filter_map(|advance| Some(cited(&advance.call, advance.taxed?.issued_on)))
                    .collect();
                if !prepayments.is_empty() {
                    self.across(&format!(
                        "Factures d'acompte / Prepayment invoices : {}",
                        prepayments.join(", ")
                    ));
                    self.y += 8_000;
                }
            }
            Purpose::Call { .. } | Purpose::Prepayment { .. } => {}
        }
    }

    /// Text over the whole width.
    fn across(&mut self, text: &str) {
        self.wrapped(LEFT, TEXT, RIGHT - LEFT, 12_000, text);
    }

    fn table_head(&mut self) {
        self.put(Ink::Box {
            x: LEFT,
            y: self.y - 2_000,
            width: RIGHT - LEFT,
            height: 26_000,
            shade: Shade::Pale,
        });
        let (first, second) = (self.y + 9_000, self.y + 18_500);
        self.text(WORDS, first, STRONG, "Désignation");
        self.text(WORDS, second, BESIDE, "Description");
        for (edge, label, label_en) in [
            (QUANTITY, "Quantité", "Quantity"),
            (PRICE, "Prix unitaire HT", "Unit price"),
            (RATE, "TVA", "VAT"),
            (AMOUNT - 4_000, "Montant HT", "Net amount"),
        ] {
            self.text_to(edge, first, STRONG, label);
            self.text_to(edge, second, BESIDE, label_en);
        }
        self.y += 38_000;
    }

    fn line(&mut self, line: &InvoiceLine) {
        let names = self.faces.wrap(STRONG, &line.name, WORDS_WIDTH);
        let name_width = self.faces.width(STRONG, &line.name) + 5_000;
        let same_row = name_width + self.faces.width(BESIDE, &line.name_en) <= WORDS_WIDTH;
        let beside = if same_row {
            Vec::new()
        } else {
            self.faces.wrap(BESIDE, &line.name_en, WORDS_WIDTH)
        };
        let mut details: Vec<String> = line
            .details
            .iter()
            .map(|(label, value)| format!("{label} : {value}"))
            .collect();
        if let Some(credited) = line.credits {
            details.push(format!(
                "Ligne {credited} du document d'origine / line {credited} of that document"
            ));
        }
        details.extend(line.note.clone());
        // A detail stays on one line where it can.
        let mut shown: Vec<String> = Vec::new();
        for detail in details {
            let longer = shown.last().map(|last| format!("{last} · {detail}"));
            match longer.filter(|longer| self.faces.width(BESIDE, longer) <= WORDS_WIDTH) {
                Some(longer) => {
                    shown.pop();
                    shown.push(longer);
                }
                None => shown.extend(self.faces.wrap(BESIDE, &detail, WORDS_WIDTH)),
            }
        }
        let rows = |lines: &[String]| Milli::try_from(lines.len()).unwrap_or(0);
        let height = rows(&names) * 11_500 + (rows(&beside) + rows(&shown)) * 9_500 + 8_000;
        self.room(height, true);
        let first = self.y;
        self.text(LEFT + 4_000, first, BESIDE, &line.number.to_string());
        if same_row {
            self.text(WORDS + name_width, first, BESIDE, &line.name_en);
        }
        let unit = match line.quantity.unit {
            Unit::Hour => " h",
            Unit::KilowattHour => " kWh",
            Unit::One => "",
        };
        let quantity = format!("{}{unit}", french::decimal(line.quantity.count));
        self.text_to(QUANTITY, first, TEXT, &quantity);
        let price = format!("{}\u{a0}€", french::decimal(line.quantity.unit_price));
        self.text_to(PRICE, first, TEXT, &price);
        self.text_to(RATE, first, TEXT, &rate(line.vat));
        self.text_to(AMOUNT - 4_000, first, TEXT, &french::euros(line.amount));
        for (lines, style, step) in [
            (names, STRONG, 11_500),
            (beside, BESIDE, 9_500),
            (shown, BESIDE, 9_500),
        ] {
            for text in lines {
                self.text(WORDS, self.y, style, &text);
                self.y += step;
            }
        }
        self.rule(self.y - 3_500, Shade::Pale, 700);
        self.y = first + height + 3_000;
    }

    fn sums(&mut self, document: &ValidInvoice) {
        let of_advances = document.vat_of_advances();
        let rates = Milli::try_from(document.vat().len() + of_advances.len()).unwrap_or(1);
        self.room((rates * 13_000 + 66_000).max(92_000), false);
        self.y += 6_000;
        let top = self.y;
        let (base, tax) = (LEFT + 150_000, LEFT + 226_000);
        self.text(LEFT, self.y, BESIDE, "Taux de TVA / VAT rate");
        self.text_to(base, self.y, BESIDE, "Base HT / Net");
        self.text_to(tax, self.y, BESIDE, "TVA / VAT");
        self.y += 5_000;
        self.put(Ink::Box {
            x: LEFT,
            y: self.y,
            width: tax - LEFT,
            height: 700,
            shade: Shade::Blue,
        });
        self.y += 12_000;
        let by_rate = |sheet: &mut Self, sum: &VatSum| {
            let label = match sum.category {
                VatCategory::Exempt => "Exonéré / Exempt".to_owned(),
                VatCategory::Rate(rate) => french::percent(rate),
            };
            sheet.text(LEFT, sheet.y, TEXT, &label);
            sheet.text_to(base, sheet.y, TEXT, &french::euros(sum.base));
            sheet.text_to(tax, sheet.y, TEXT, &french::euros(sum.amount));
            sheet.y += 13_000;
        };
        for sum in document.vat() {
            by_rate(self, sum);
        }
        if !of_advances.is_empty() {
            self.y += 3_000;
            let label = "Déjà facturé avec les acomptes / already invoiced with the advances";
            self.text(LEFT, self.y, BESIDE, label);
            self.y += 12_000;
            for sum in &of_advances {
                let taken_off = VatSum {
                    base: Cents(0) - sum.base,
                    amount: Cents(0) - sum.amount,
                    ..*sum
                };
                by_rate(self, &taken_off);
            }
            let invoiced: Cents = of_advances.iter().map(|sum| sum.amount).sum();
            let left = french::euros(document.sums().vat - invoiced);
            self.text(LEFT, self.y, STRONG, "TVA restante");
            let after = LEFT + self.faces.width(STRONG, "TVA restante") + 5_000;
            self.text(after, self.y, BESIDE, "VAT that is left");
            self.text_to(tax, self.y, STRONG, &left);
            self.y += 13_000;
        }
        let under_rates = self.y;

        self.y = top;
        let sums = document.sums();
        let mut above = vec![
            ("Total HT".to_owned(), "Net total", sums.net),
            ("Total TVA".to_owned(), "VAT total", sums.vat),
        ];
        if !document.advances().is_empty() {
            above.push(("Total TTC".to_owned(), "Gross total", sums.gross));
        }
        above.extend(document.advances().iter().map(|advance| {
            let what = if advance.taxed.is_some() {
                "Acompte"
            } else {
                "Avance"
            };
            let label = format!("{what} {}", advance.call);
            (label, "Paid in advance", Cents(0) - advance.amount)
        }));
        self.room(Milli::try_from(above.len()).unwrap_or(0) * 15_000, false);
        for (label, label_en, amount) in above {
            self.text(WINDOW, self.y, TEXT, &label);
            let after = WINDOW + self.faces.width(TEXT, &label) + 5_000;
            self.text(after, self.y, BESIDE, label_en);
            self.text_to(RIGHT - 4_000, self.y, TEXT, &french::euros(amount));
            self.y += 15_000;
        }
        let (label, label_en) = match document.purpose() {
            Purpose::Invoice { .. } => ("Net à payer TTC", "Total due"),
            Purpose::Prepayment { .. } => ("Acompte à payer TTC", "Advance due"),
            Purpose::Call { .. } => ("Montant appelé", "Called"),
            Purpose::CreditNote { .. } if !document.purpose().is_invoice() => {
                ("Montant annulé", "Taken back")
            }
            Purpose::CreditNote { .. } | Purpose::MonthCredit { .. } => {
                ("Total de l'avoir TTC", "Total credited")
            }
        };
        self.put(Ink::Box {
            x: WINDOW - 6_000,
            y: self.y - 8_000,
            width: RIGHT - WINDOW + 6_000,
            height: 24_000,
            shade: Shade::Pale,
        });
        self.y += 8_000;
        self.text(WINDOW, self.y, TOTAL, label);
        let after = WINDOW + self.faces.width(TOTAL, label) + 5_000;
        self.text(after, self.y, BESIDE, label_en);
        self.text_to(
            RIGHT - 4_000,
            self.y,
            TOTAL,
            &french::euros(sums.gross - document.prepaid()),
        );
        self.y = (self.y + 16_000).max(under_rates) + 12_000;
    }

    fn payment(&mut self, issued: &IssuedInvoice) {
        let document = issued.document();
        self.room(58_000, false);
        match (document.purpose(), issued.due_on()) {
            (Purpose::CreditNote { corrects, .. }, _) => {
                self.across(&format!(
                    "À déduire de {corrects}, ou à rembourser si c'est payé. / To be deducted from that document, or paid \
                     back where it is paid."
                ));
            }
            (Purpose::MonthCredit { .. }, _) => {
                self.across(&format!(
                    "{} / {}",
                    TO_BE_PAID_BACK.french, TO_BE_PAID_BACK.english
                ));
            }
            (Purpose::Invoice { .. } | Purpose::Call { .. } | Purpose::Prepayment { .. }, due) => {
                self.text(LEFT, self.y, STRONG, "Règlement");
                let after = LEFT + self.faces.width(STRONG, "Règlement") + 5_000;
                self.text(after, self.y, BESIDE, "Payment");
                self.y += 13_000;
                let until = due.map(french::day).unwrap_or_default();
                let words = format!(
                    "À {} jours, au plus tard le {until}, par virement avec la référence {}.",
                    document.payment_days(),
                    issued.number()
                );
                self.across(&words);
                if let Some(account) = &document.seller().account {
                    let bic = account.bic.as_ref().map(|bic| format!("   BIC {bic}"));
                    let words = format!(
                        "IBAN {}{}",
                        french::in_fours(&account.iban),
                        bic.unwrap_or_default()
                    );
                    self.text(LEFT, self.y, STRONG, &words);
                    self.y += 12_000;
                }
            }
        }
        self.y += 8_000;
    }

    /// What was billed in each month of the year so far, as bars: the one of this document last.
    fn year(&mut self, document: &ValidInvoice) {
        let own = match document.purpose() {
            Purpose::Invoice { .. } => document.sums().net,
            Purpose::MonthCredit { .. } => Cents(0) - document.sums().net,
            Purpose::CreditNote { .. } | Purpose::Call { .. } | Purpose::Prepayment { .. } => return,
        };
        if document.year().is_empty() {
            return;
        }
        let here = document.month();
        let mut months = [None; 12];
        let billed = document.year().iter().map(|billed| (billed.month, billed.net));
        for (month, net) in billed.chain([(here, own)]) {
            let place = usize::try_from(month.index() % 12).unwrap_or(0);
            if let Some(slot) = months.get_mut(place) {
                *slot = Some(net);
            }
        }
        let known = || months.iter().flatten().map(|net| net.0);
        let (most, least) = (
            known().max().unwrap_or(0).max(0),
            known().min().unwrap_or(0).min(0),
        );
        let span = (most - least).max(1);
        let height = |amount: i128| Milli::try_from(amount * i128::from(BARS_HIGH) / span).unwrap_or(0);
        self.room(BARS_HIGH + 40_000, false);
        let label = format!("Facturé HT par mois en {}", here.first_day().year());
        self.text(LEFT, self.y, STRONG, &label);
        let after = LEFT + self.faces.width(STRONG, &label) + 5_000;
        self.text(after, self.y, BESIDE, "Billed by month, without VAT");
        let top = self.y + 8_000;
        let zero = top + height(most);
        for ((place, net), initial) in (0..).zip(months).zip("JFMAMJJASOND".chars()) {
            let x = LEFT + place * BAR_STEP;
            let is_here = i128::from(place) == here.index() % 12;
            if let Some(net) = net.filter(|net| net.0 != 0) {
                let bar = height(net.0.abs()).max(600);
                self.put(Ink::Box {
                    x,
                    y: if net.0 > 0 { zero - bar } else { zero },
                    width: BAR_STEP - 8_000,
                    height: bar,
                    shade: if is_here { Shade::Blue } else { Shade::Grey },
                });
            }
            let style = if is_here { STRONG } else { BESIDE };
            self.text(x + 5_000, top + BARS_HIGH + 9_500, style, &initial.to_string());
        }
        self.put(Ink::Box {
            x: LEFT,
            y: zero,
            width: 12 * BAR_STEP - 8_000,
            height: 500,
            shade: Shade::Black,
        });
        // What the tallest bar stands for, and the sum so far: a bar without a number says little to who pays.
        let beside = LEFT + 12 * BAR_STEP + 10_000;
        let total: Cents = months.iter().flatten().copied().sum();
        for (row, (label, amount)) in (0..).zip([
            ("Mois le plus élevé / highest month", Cents(most)),
            ("Cumul de l'année / year so far", total),
        ]) {
            let y = top + 8_000 + row * 14_000;
            self.text(beside, y, BESIDE, label);
            self.text_to(RIGHT - 4_000, y, TEXT, &french::euros(amount));
        }
        self.y = top + BARS_HIGH + 26_000;
    }

    fn mentions(&mut self, document: &ValidInvoice) {
        if let Some(exemption) = document.exemption() {
            let text = exemption.mention();
            self.room(14_000, false);
            self.wrapped(LEFT, STRONG, RIGHT - LEFT, 11_500, &format!("{text}."));
            self.y += 3_000;
        }
        if !document.purpose().is_invoice() {
            self.room(30_000, false);
            self.wrapped(LEFT, SMALL, RIGHT - LEFT, 9_500, CALL.french);
            self.wrapped(LEFT, BESIDE, RIGHT - LEFT, 9_500, CALL.english);
            return;
        }
        if let Purpose::Prepayment { .. } = document.purpose() {
            self.room(40_000, false);
            self.wrapped(LEFT, SMALL, RIGHT - LEFT, 9_500, PREPAYMENT.french);
            self.wrapped(LEFT, BESIDE, RIGHT - LEFT, 9_500, PREPAYMENT.english);
            self.y += 2_500;
        }
        for mention in mentions(document.buyer().kind) {
            self.room(30_000, false);
            self.wrapped(LEFT, SMALL, RIGHT - LEFT, 9_500, mention.french);
            self.wrapped(LEFT, BESIDE, RIGHT - LEFT, 9_500, mention.english);
            self.y += 2_500;
        }
    }

    /// Once it is known how many pages there are.
    fn feet(&mut self, issued: &IssuedInvoice) {
        let document = issued.document();
        let seller = document.seller();
        let who = format!(
            "{} · {} · SIREN {}",
            seller.name,
            seller.legal_form,
            french::siret(&seller.siren())
        );
        let what = if document.purpose().ahead().is_none() {
            format!(
                "Établi sur le décompte {} / made from the statement {} : SHA-256 {}",
                document.month(),
                document.month(),
                document.statement()
            )
        } else {
            format!(
                "Établi sur la clé de répartition / made from the cost pool : SHA-256 {}",
                document.statement()
            )
        };
        let count = self.pages.len();
        let pages = std::mem::take(&mut self.pages);
        for (page, ink) in (1..).zip(pages) {
            self.pages.push(ink);
            let y = PAPER_HEIGHT - 44_000;
            self.rule(y - 11_000, Shade::Pale, 700);
            let who = self.faces.wrap(BESIDE, &who, RIGHT - LEFT - 90_000);
            self.text(
                LEFT,
                y,
                BESIDE,
                who.first().map(String::as_str).unwrap_or_default(),
            );
            self.text_to(
                RIGHT,
                y,
                BESIDE,
                &format!("{} · page {page}/{count}", issued.number()),
            );
            let smaller = style(Face::Regular, 6_000, Shade::Grey);
            self.text(LEFT, y + 9_500, smaller, &what);
        }
    }
}

/// What it is, in French and in English.
fn title(document: &ValidInvoice) -> (&'static str, &'static str) {
    match document.purpose() {
        Purpose::Invoice { .. } if document.vat_of_advances().is_empty() => ("FACTURE", "Invoice"),
        Purpose::Invoice { .. } => (
            "FACTURE DÉFINITIVE APRÈS ACOMPTE",
            "Final invoice after an advance",
        ),
        Purpose::Prepayment { .. } => ("FACTURE D'ACOMPTE", "Prepayment invoice"),
        Purpose::Call { .. } => ("APPEL DE FONDS", "Call for funds"),
        Purpose::CreditNote {
            ahead: Some(Ahead::Call(_)),
            ..
        } => ("ANNULATION", "Call taken back"),
        Purpose::CreditNote { .. } | Purpose::MonthCredit { .. } => ("AVOIR", "Credit note"),
    }
}

/// A document as another names it.
fn cited(number: &InvoiceNumber, issued_on: Date) -> String {
    format!("{number} ({})", french::day(issued_on))
}

fn rate(vat: VatCategory) -> String {
    match vat {
        VatCategory::Exempt => "exo.".to_owned(),
        VatCategory::Rate(rate) => french::percent(rate),
    }
}

fn town(address: &Address) -> String {
    format!("{} {}", address.postal_code, address.city)
}
