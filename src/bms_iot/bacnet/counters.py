"""What the BACnet side has counted since it was opened."""

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Counts since the port was opened; they only grow. Read them, do not write them."""

    requests: int = 0
    """Confirmed requests, each once however often it was sent."""
    retries: int = 0
    replies: int = 0
    """Answers of any kind that ended a request."""
    refused: int = 0
    """Answers among them that were an Error, Reject or Abort."""
    malformed: int = 0
    """Datagrams and answers that could not be decoded."""
    timeouts: int = 0
    """Requests given up after the last try."""
    late: int = 0
    """Answers to requests that had been given up."""
    duplicates: int = 0
    """Answers to requests that had been answered."""
    foreign: int = 0
    """Answers from stations never asked, to another service, and requests to us that nobody answers."""
    requests_to_us: int = 0
    """Confirmed requests that were answered, or left to somebody here: notifications."""
    datagrams: int = 0
    unconfirmed: int = 0
    ignored: int = 0
    """Datagrams of BVLC functions and network layer messages that are not for us."""
    send_errors: int = 0
    receive_errors: int = 0
    segments: int = 0
    """Segments of answers that were taken."""
    segments_passed_over: int = 0
    """Segments that were repeated, out of order, or of answers nobody waits for."""
    routers_asked: int = 0
    """Who-Is-Router-To-Network sent."""
    routes_learned: int = 0
    rejected_by_router: int = 0
    """Reject-Message-To-Network of routers we use."""
    registrations: int = 0
    """Registrations as a foreign device that the BBMD accepted, renewals among them."""
    registrations_failed: int = 0
    """Registrations that the BBMD refused or did not answer, and broadcasts it would not distribute."""
    i_am_passed_over: int = 0
    """I-Ams that were one too many."""
    notifications: int = 0
    """Notifications of a change of value, confirmed or not."""
    notifications_unknown: int = 0
    """Those among them that belong to no subscription of ours."""
