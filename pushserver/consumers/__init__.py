"""What answers at a location, by role and by transport."""

from pushserver.consumers.location import LocationConsumer
from pushserver.consumers.roles import PublisherConsumer, SubscriberConsumer

__all__ = ["LocationConsumer", "PublisherConsumer", "SubscriberConsumer"]
