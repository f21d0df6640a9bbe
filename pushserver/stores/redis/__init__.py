"""The Redis store: `scripts` run in Redis, `connection` carries, `store` translates."""

from channels_redis.utils import decode_hosts

from pushserver.stores.redis.store import RedisStore

__all__ = ["RedisStore", "decode_hosts"]
