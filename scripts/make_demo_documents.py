"""Makes the demo's PDF and DOCX again: `.venv/bin/python scripts/make_demo_documents.py`."""

# ruff: noqa: E501 -- prose

from pathlib import Path

from docx import Document
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.platypus import PageBreak, Paragraph, SimpleDocTemplate, Spacer

DOCUMENTS = Path(__file__).parents[1] / "shared" / "src" / "sluice" / "cli" / "demo" / "documents"

HANDBOOK = [
    (
        "Merchant handbook",
        [
            "This handbook tells merchants of Kaveri Payments how money moves from a customer to their bank account, what "
            "happens when a customer disputes a payment, and how to keep an account safe.",
            "A payment has five states. It is created when the customer opens the checkout, authorised when the bank has set "
            "the money aside, captured when the merchant takes it, settled when it is on its way to the merchant's account, "
            "and refunded when it was given back.",
            "An authorised payment that is not captured within 5 days is released by itself, and the customer's bank frees "
            "the money. Merchants who ship later than that should capture on shipping and ask for a longer period first.",
        ],
    ),
    (
        "Settlement schedule",
        [
            "Captured payments are settled on the second working day after capture, at 13 hours Indian time. Payments by "
            "international cards are settled on the seventh working day, because the card network clears them later.",
            "Saturdays, Sundays and bank holidays are not working days. A payment captured on a Friday is settled on the "
            "following Tuesday.",
            "Early settlement pays out three times on each day, also on holidays, for a fee of 0.25 percent of the amount. An "
            "account can use it once it is 90 days old and less than 1 percent of its payments were disputed.",
            "A settlement is held when the bank account could not be verified, or when more was refunded than was captured. "
            "The dashboard shows the reason next to the settlement.",
        ],
    ),
    (
        "Chargebacks",
        [
            "A chargeback is a payment that the customer disputes at their bank. The amount is taken from the merchant's "
            "balance on the day that the bank tells us, together with a handling fee of 500 rupees.",
            "A merchant has 7 days to contest a chargeback. Contest it in the dashboard with the invoice, the proof of "
            "delivery and what the customer wrote. Without an answer in 7 days the chargeback is lost.",
            "When the merchant wins, the amount and the fee are given back, usually within 45 days, because the bank waits for "
            "the period in which the customer may object again.",
            "Accounts whose disputes rise above 1 percent of payments in a month get a warning, and above 2 percent their "
            "settlements are held for 30 days.",
        ],
    ),
    (
        "Keeping the account safe",
        [
            "Give each person an account of their own, with no more rights than they need. An owner may do everything, a "
            "manager everything but change the bank account, an operator may refund, and an analyst may only read.",
            "Roll API keys every 90 days. For 24 hours the old key works beside the new one, so that nothing stops.",
            "Our staff never ask for a password, a one-time code or a full card number. Report whoever does to "
            "security@kaveri.example.",
        ],
    ),
]

POLICY = [
    (
        "Refund approval policy",
        [
            "For support staff. This policy is internal: merchants are told the public limit alone.",
            "The refund limit a support agent may approve is ₹25,000 at tier 1 and ₹1,00,000 at tier 2. Above that the "
            "shift lead and the risk desk approve together, under the code Marigold.",
        ],
    ),
    (
        "Goodwill",
        [
            "An agent may give a goodwill credit of up to ₹750 once a quarter for each merchant, without asking. The credit "
            "is booked on the cost centre Marigold-7 and is never announced in advance.",
            "Merchants who were refused a goodwill credit in the last 90 days are not offered one again.",
        ],
    ),
    (
        "When not to approve",
        [
            "No refund is approved while the risk desk watches an account, even if it lies below the limit. Tell the merchant "
            "that the refund is being processed, and nothing about the watch.",
            "A refund to another card than the one that paid is never approved by an agent. It is a known way to launder "
            "money, and goes to the risk desk on extension 4430.",
        ],
    ),
]


def make_pdf(path: Path) -> None:
    """The handbook, one section a page; the same bytes each time."""
    styles = getSampleStyleSheet()
    story: list[object] = []
    for title, paragraphs in HANDBOOK:
        story += [Paragraph(title, styles["Heading1"]), Spacer(1, 12)]
        for text in paragraphs:
            story += [Paragraph(text, styles["BodyText"]), Spacer(1, 8)]
        story.append(PageBreak())
    SimpleDocTemplate(str(path), pagesize=A4, title="Merchant handbook", author="Kaveri Payments", invariant=1).build(
        story
    )


def make_docx(path: Path) -> None:
    """The policy, a heading and its paragraphs."""
    document = Document()
    document.core_properties.title = "Refund approval policy"
    document.core_properties.author = "Kaveri Payments"
    for title, paragraphs in POLICY:
        document.add_heading(title, level=1)
        for text in paragraphs:
            document.add_paragraph(text)
    document.save(str(path))


if __name__ == "__main__":
    make_pdf(DOCUMENTS / "external" / "merchant-handbook.pdf")
    make_docx(DOCUMENTS / "internal" / "refund-approval-policy.docx")
