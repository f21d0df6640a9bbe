"""What runs inside Redis: one script an operation, each atomic.

A channel has three keys in one cluster slot, named by a hash tag of its bucket:

* the stream of its messages, with ids that we allot;
* a hash that outlives them: ``last`` (id of the last message), ``deleted`` (mark of
  the last deletion), ``created``, ``requested`` (when a reader last asked);
* the floor of the bucket, shared with other channels and never expiring: the highest
  id ever given in it. Each append raises it, so ids strictly increase although
  streams and hashes are deleted, expire, and the server's clock goes back.
"""

from hashlib import sha1

__all__ = [
    "APPEND",
    "CREATE",
    "DELETE",
    "HEADS",
    "HELD",
    "READ",
    "REPORT",
    "REQUESTED",
    "Script",
]


class Script:
    """A Lua script, known to Redis by its digest."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.digest = sha1(source.encode()).hexdigest()  # noqa: S324 (Redis's choice)


_COMMON = """
local function now_ms()
    local t = redis.call('TIME')
    return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function parts(id)
    local ms, n = string.match(id, '^(%d+)-(%d+)$')
    return tonumber(ms), tonumber(n)
end

local function later(a, b)
    if not a then return b end
    local ams, an = parts(a)
    local bms, bn = parts(b)
    if ams > bms or (ams == bms and an > bn) then return a end
    return b
end

-- Allot the next id of the bucket and raise its floor. meta: HMGET last, deleted.
local function next_id(floor_key, meta, now)
    local high = later(meta[1], later(meta[2], redis.call('GET', floor_key) or '0-0'))
    local ms, n = parts(high)
    local id
    if now > ms then
        id = string.format('%.0f-0', now)
    else
        id = string.format('%.0f-%.0f', ms, n + 1)
    end
    redis.call('SET', floor_key, id)
    return id
end

-- Drop what is over the limits; limits of 0 are none.
local function trim(stream, now, min, max, timeout)
    if max > 0 then redis.call('XTRIM', stream, 'MAXLEN', '=', max) end
    if timeout == 0 then return end
    local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    if not first then return end
    local oldest = now - timeout + 1
    if parts(first[1]) >= oldest then return end
    local minid = string.format('%.0f-0', oldest)
    if min > 0 then
        local protected = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', min)
        local keep_from = protected[#protected][1]
        if parts(keep_from) < oldest then minid = keep_from end
    end
    redis.call('XTRIM', stream, 'MINID', '=', minid)
end

-- last or false, deleted or false, created or false, requested or false, messages,
-- floor
local function head(stream, meta_key, floor_key, now, min, max, timeout)
    trim(stream, now, min, max, timeout)
    local meta = redis.call('HMGET', meta_key,
                            'last', 'deleted', 'created', 'requested')
    return {meta[1], meta[2], meta[3], meta[4], redis.call('XLEN', stream),
            redis.call('GET', floor_key) or '0-0'}
end
"""

# ARGV: min, max, timeout ms, forget ms, then the fields of the entry.
# Returns the id and the id before it.
APPEND = Script(
    _COMMON
    + """
local now = now_ms()
local meta = redis.call('HMGET', KEYS[2], 'last', 'deleted')
local previous = meta[1] or redis.call('GET', KEYS[3]) or '0-0'
local id = next_id(KEYS[3], meta, now)
redis.call('XADD', KEYS[1], id, 'p', previous, unpack(ARGV, 5))
redis.call('HSET', KEYS[2], 'last', id)
trim(KEYS[1], now, tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return {id, previous}
"""
)

# ARGV: min, max, timeout ms, cursor, limit (0: none).
# Returns the head, now, and the entries after the cursor.
READ = Script(
    _COMMON
    + """
local now = now_ms()
local found = head(KEYS[1], KEYS[2], KEYS[3], now,
                   tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]))
local entries
if ARGV[5] == '0' then
    entries = redis.call('XRANGE', KEYS[1], '(' .. ARGV[4], '+')
else
    entries = redis.call('XRANGE', KEYS[1], '(' .. ARGV[4], '+', 'COUNT', ARGV[5])
end
return {found, string.format('%.0f', now), entries}
"""
)

# KEYS: those of each channel, one after the other. ARGV: min, max, timeout ms.
# Returns now and the head of each channel.
HEADS = Script(
    _COMMON
    + """
local now = now_ms()
local heads = {}
for i = 1, #KEYS, 3 do
    heads[#heads + 1] = head(KEYS[i], KEYS[i + 1], KEYS[i + 2], now,
                             tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]))
end
return {string.format('%.0f', now), heads}
"""
)

# ARGV: forget ms.
CREATE = Script(
    """
redis.call('HSET', KEYS[2], 'created', 1)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
"""
)

# ARGV: min, max, timeout ms, forget ms. Returns 1 if the channel existed.
DELETE = Script(
    _COMMON
    + """
local now = now_ms()
local before = head(KEYS[1], KEYS[2], KEYS[3], now,
                    tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]))
local mark = next_id(KEYS[3], before, now)
redis.call('DEL', KEYS[1])
redis.call('HDEL', KEYS[2], 'created')
redis.call('HSET', KEYS[2], 'deleted', mark)
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return (before[3] or before[5] > 0) and 1 or 0
"""
)

# ARGV: how long ago, in ms.
REQUESTED = Script(
    _COMMON
    + """
if redis.call('EXISTS', KEYS[2]) == 1 then
    redis.call('HSET', KEYS[2], 'requested', string.format('%.0f', now_ms() - ARGV[1]))
end
"""
)

# Who holds readers. Each event loop of each process has a hash of its own, channel to
# readers, which expires by itself when the process is killed; a sorted set knows them
# by the time of their last report. All of it is in one slot.

# KEYS: the hash, the set. ARGV: reporter, ttl ms, 1 to begin anew, then pairs of
# channel and readers. Returns 0 where the hash has expired and must begin anew.
REPORT = Script(
    _COMMON
    + """
if ARGV[3] == '1' then
    redis.call('DEL', KEYS[1])
elseif redis.call('EXISTS', KEYS[1]) == 0 then
    return 0
end
for i = 4, #ARGV, 2 do
    if ARGV[i + 1] == '0' then
        redis.call('HDEL', KEYS[1], ARGV[i])
    else
        redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
    end
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local now = now_ms()
redis.call('ZADD', KEYS[2], string.format('%.0f', now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('(%.0f', now - ARGV[2]))
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
"""
)

# KEYS: the set. ARGV: what the hashes begin with, the process that asks, channel.
# Returns how many readers other processes hold.
HELD = Script(
    """
local held = 0
for _, reporter in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    if string.sub(reporter, 1, #ARGV[2]) ~= ARGV[2] then
        held = held + (redis.call('HGET', ARGV[1] .. reporter, ARGV[3]) or 0)
    end
end
return held
"""
)
