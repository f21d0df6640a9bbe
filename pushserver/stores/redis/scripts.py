"""What runs inside Redis: one script an operation, each atomic.

A channel has four keys in one cluster slot, named by a hash tag of its bucket:

* the stream of its messages, with ids that we allot;
* a hash that outlives them: ``last`` (id of the last message), ``born`` (what the
  first one names as the one before it), ``deleted`` (mark of the last deletion),
  ``created``, ``requested`` (when a reader last asked);
* the floor of the bucket, shared with other channels and never expiring: the highest
  ``id`` ever given in it. Each append raises it, so ids strictly increase although
  streams and hashes are deleted, expire, and the server's clock goes back. ``since``
  is where it began: a Redis that has lost its memory begins anew;
* a list of the ids of waived storage, oldest first, which leave the stream early.

Whatever may be refused (a key of another type, no memory, a read-only replica) is
refused before the first message is written: an error means that nothing was stored.
"""

from hashlib import sha1

__all__ = [
    "APPEND",
    "CHANGED",
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

-- The id of the floor, and where it began.
local function floor_of(floor_key, now)
    local floor = redis.call('HMGET', floor_key, 'id', 'since')
    if floor[1] then return floor[1], floor[2] end
    -- A new Redis, or one that has lost its memory: whatever readers saw before is
    -- below. pcall: where nothing can be written, reads go on, and nothing begins.
    local id = string.format('%.0f-0', now)
    local written = redis.pcall('HSET', floor_key, 'id', id, 'since', id)
    return id, type(written) == 'number' and id or '0-0'
end

-- The id of the last message, which the stream also knows should the hash be lost.
local function last_of(stream, known)
    if known or redis.call('EXISTS', stream) == 0 then return known end
    local info = redis.call('XINFO', 'STREAM', stream)
    for i = 1, #info, 2 do
        if info[i] == 'last-generated-id' then return info[i + 1] end
    end
end

-- Allot the next id of the bucket and raise its floor.
local function next_id(floor_key, last, deleted, floor, now)
    local ms, n = parts(later(last, later(deleted, floor)))
    local id
    if now > ms then
        id = string.format('%.0f-0', now)
    else
        id = string.format('%.0f-%.0f', ms, n + 1)
    end
    redis.call('HSET', floor_key, 'id', id)
    return id
end

local function drop_waived(stream, waived, now, timeout)
    local id = redis.call('LINDEX', waived, 0)
    while id and parts(id) <= now - timeout do
        redis.call('XDEL', stream, id)
        redis.call('LPOP', waived)
        id = redis.call('LINDEX', waived, 0)
    end
end

-- Drop what is over the limits, and return how many stay; limits of 0 are none.
local function trim(stream, now, min, max, timeout)
    local count = redis.call('XLEN', stream)
    if max > 0 and count > max then
        count = count - redis.call('XTRIM', stream, 'MAXLEN', '=', max)
    end
    if timeout == 0 or count == 0 then return count end
    local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    local oldest = now - timeout + 1
    if parts(first[1]) >= oldest then return count end
    local minid = string.format('%.0f-0', oldest)
    if min > 0 then
        local protected = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', min)
        local keep_from = protected[#protected][1]
        if parts(keep_from) < oldest then minid = keep_from end
    end
    return count - redis.call('XTRIM', stream, 'MINID', '=', minid)
end

-- The head of the channel whose keys begin at i: last, deleted, created, requested,
-- born (each of them or false), messages, the floor's id and where it began.
local function head(i, now)
    local stream = KEYS[i]
    drop_waived(stream, KEYS[i + 3], now, tonumber(ARGV[4]))
    local count = trim(stream, now, tonumber(ARGV[1]), tonumber(ARGV[2]),
                       tonumber(ARGV[3]))
    local meta = redis.call('HMGET', KEYS[i + 1],
                            'last', 'deleted', 'created', 'requested', 'born')
    local last = last_of(stream, meta[1]) or false
    return {last, meta[2], meta[3], meta[4], meta[5], count,
            floor_of(KEYS[i + 2], now)}
end
"""

# Every script that takes limits: ARGV: min, max, timeout ms, waived timeout ms, ...

# ARGV: limits, forget ms, then the fields of the entry; of waived storage, the last
# one is k. Returns the id, the id before it, the head with it, and now.
APPEND = Script(
    _COMMON
    + """
local stream, meta_key, floor_key, waived = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local max, forget = tonumber(ARGV[2]), ARGV[5]
local now = now_ms()
drop_waived(stream, waived, now, tonumber(ARGV[4]))
local meta = redis.call('HMGET', meta_key, 'last', 'deleted')
local last, floor = last_of(stream, meta[1]), floor_of(floor_key, now)
local previous = last or floor
local id = next_id(floor_key, last, meta[2], floor, now)
redis.call('XADD', stream, id, 'p', previous, unpack(ARGV, 6))
redis.call('HSET', meta_key, 'last', id)
if not last then redis.call('HSET', meta_key, 'born', previous) end
if ARGV[#ARGV - 1] == 'k' then
    redis.call('RPUSH', waived, id)
    if max > 0 then redis.call('LTRIM', waived, -max, -1) end
    redis.call('PEXPIRE', waived, forget)
end
local found = head(1, now)
redis.call('PEXPIRE', stream, forget)
redis.call('PEXPIRE', meta_key, forget)
return {id, previous, found, string.format('%.0f', now)}
"""
)

# ARGV: limits, cursor, limit (0: none).
# Returns the head, now, and the entries after the cursor. Of those of waived storage
# only the caller knows which count, so there the limit is the caller's, too.
READ = Script(
    _COMMON
    + """
local now = now_ms()
local found = head(1, now)
local range = {KEYS[1], '(' .. ARGV[5], '+'}
if ARGV[6] ~= '0' and redis.call('EXISTS', KEYS[4]) == 0 then
    range[4], range[5] = 'COUNT', ARGV[6]
end
return {found, string.format('%.0f', now), redis.call('XRANGE', unpack(range))}
"""
)

# KEYS: those of each channel, one after the other. ARGV: limits.
# Returns now and the head of each channel.
HEADS = Script(
    _COMMON
    + """
local now = now_ms()
local heads = {}
for i = 1, #KEYS, 4 do heads[#heads + 1] = head(i, now) end
return {string.format('%.0f', now), heads}
"""
)

# KEYS: the hash of each channel and the floor of its bucket. ARGV: where the caller
# believes each to stand: its level, a space, the mark of the last deletion.
# Returns which ones, from 1 on, are somewhere else. One command for each channel, and
# few words, as all that have readers are asked for again and again.
CHANGED = Script(
    _COMMON
    + """
local now, began, changed = now_ms(), {}, {}
for i = 1, #KEYS, 2 do
    local meta = redis.call('HMGET', KEYS[i], 'last', 'deleted')
    local level, floor, number = meta[1], KEYS[i + 1], (i + 1) / 2
    if not level then
        began[floor] = began[floor] or select(2, floor_of(floor, now))
        level = began[floor]
    end
    if level .. ' ' .. (meta[2] or '0-0') ~= ARGV[number] then
        changed[#changed + 1] = number
    end
end
return changed
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

# ARGV: limits, forget ms. Returns 1 if the channel existed.
DELETE = Script(
    _COMMON
    + """
local now = now_ms()
local before = head(1, now)
local mark = next_id(KEYS[3], before[1], before[2], floor_of(KEYS[3], now), now)
redis.call('DEL', KEYS[1], KEYS[4])
redis.call('HDEL', KEYS[2], 'created')
redis.call('HSET', KEYS[2], 'deleted', mark)
redis.call('PEXPIRE', KEYS[2], ARGV[5])
return (before[3] or before[6] > 0) and 1 or 0
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
