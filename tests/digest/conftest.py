"""What the tests of digests share."""

from tests.browser import browser as browser
from tests.digest.servers import certificate as certificate
from tests.digest.servers import mail_server as mail_server
