"""Is a line enough? Exact proofs, either way, for data and after every layer of a network."""

from logistack.separability.capacity import HiddenBound as HiddenBound
from logistack.separability.capacity import hidden_bound as hidden_bound
from logistack.separability.certificates import Certificate as Certificate
from logistack.separability.certificates import CommonPoint as CommonPoint
from logistack.separability.certificates import Line as Line
from logistack.separability.certificates import NothingToSeparate as NothingToSeparate
from logistack.separability.certificates import Separator as Separator
from logistack.separability.classes import ClassCertificates as ClassCertificates
from logistack.separability.classes import MultinomialCommonPoint as MultinomialCommonPoint
from logistack.separability.classes import MultinomialSeparator as MultinomialSeparator
from logistack.separability.questions import Untangling as Untangling
from logistack.separability.questions import certify as certify
from logistack.separability.questions import untangle as untangle
from logistack.separability.recession import separation as separation
from logistack.separability.separations import ClassSeparations as ClassSeparations
from logistack.separability.separations import Coefficient as Coefficient
from logistack.separability.separations import MultinomialSeparation as MultinomialSeparation
from logistack.separability.separations import Rank as Rank
from logistack.separability.separations import Separation as Separation
from logistack.separability.text import certificate_from_json as certificate_from_json
