"""What a project finds in pushserver.consumers."""

from pushserver import consumers
from pushserver.consumers.location import LocationConsumer


def test_a_project_can_name_the_consumer_of_each_role():
    """Both roles are consumers of a location."""
    for consumer in (consumers.SubscriberConsumer, consumers.PublisherConsumer):
        assert issubclass(consumer, LocationConsumer)
