"""The scripts that run in Redis, each as one atomic step. Times are milliseconds unless a name says microseconds.

The keys of one installation share a hash tag, so that all of them are in one slot of a cluster.
"""

from wirekey.features.redis.loss_scripts import GUARD

ADD = """
local found = redis.call('GET', KEYS[1])
if not found then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return found
"""

REPLACE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""

# The clock of the server, in seconds and microseconds. A script must not rely on it alone, as it may be set.
CLOCK = "local clock = redis.call('TIME')\n"

# For each bucket: amount, microseconds per unit, burst. The first argument is 1 if the amounts need not fit.
# Returns whether they were taken, then for each bucket the microseconds until it is full and until the amount fits.
# A bucket keeps when it is full, and when that was written. If the latter is in the future, the clock was set back, and
# both times move with it: otherwise nobody could call until the clock is there again.
TAKE = (
    CLOCK
    + """
local now = clock[1] * 1000000 + clock[2]
local full_at, waits, moved, allowed = {}, {}, {}, true
for index, key in ipairs(KEYS) do
    local amount, interval = tonumber(ARGV[3 * index - 1]), tonumber(ARGV[3 * index])
    local burst = tonumber(ARGV[3 * index + 1])
    local full, written = string.match(redis.call('GET', key) or '', '^(%S+) ?(%S*)$')
    full_at[index] = tonumber(full or now)
    if tonumber(written or '') and tonumber(written) > now then
        full_at[index] = full_at[index] - (tonumber(written) - now)
        moved[index] = true
    end
    waits[index] = 0
    if amount > 0 and ARGV[1] == '0' then
        waits[index] = math.max(0, full_at[index] - now - (burst - math.min(amount, burst)) * interval)
        if waits[index] > 0 then allowed = false end
    end
end
local result = {allowed and 1 or 0}
for index, key in ipairs(KEYS) do
    local amount, interval = tonumber(ARGV[3 * index - 1]), tonumber(ARGV[3 * index])
    local taken = allowed and amount ~= 0
    if taken then full_at[index] = math.max(now, math.max(now, full_at[index]) + amount * interval) end
    if taken or moved[index] then
        if full_at[index] > now then
            local lasts = string.format('%.0f', math.ceil((full_at[index] - now) / 1000) + 1)
            redis.call('SET', key, string.format('%.3f %.3f', full_at[index], now), 'PX', lasts)
        else
            redis.call('DEL', key)
        end
    end
    result[2 * index] = string.format('%.3f', math.max(0, full_at[index] - now))
    result[2 * index + 1] = string.format('%.3f', waits[index])
end
return result
"""
)

# A budget has a total, a sorted set of its reservations by their end, and a hash of their amounts, whose empty field is
# the sum. A reservation has a hash of its budgets. KEYS[1] is the reservation's. The first argument is the reservation.
# An end that is over an hour ahead was written before the clock was set back. It is a minute ahead then.
BUDGETS = (
    CLOCK
    + """
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function drop(key, reservation)
    local amount = redis.call('HGET', key .. ':amounts', reservation)
    if amount then
        redis.call('HDEL', key .. ':amounts', reservation)
        redis.call('HINCRBY', key .. ':amounts', '', '-' .. amount)
    end
    redis.call('ZREM', key .. ':ends', reservation)
end
local function finish(held, reservation)
    for _, key in ipairs(redis.call('SMEMBERS', held)) do drop(key, reservation) end
    redis.call('DEL', held)
end
local function level(key)
    for _, reservation in ipairs(redis.call('ZRANGEBYSCORE', key .. ':ends', now + 3600000, '+inf')) do
        redis.call('ZADD', key .. ':ends', now + 60000, reservation)
    end
    for _, reservation in ipairs(redis.call('ZRANGEBYSCORE', key .. ':ends', '-inf', now)) do drop(key, reservation) end
    return redis.call('GET', key .. ':total'), redis.call('HGET', key .. ':amounts', '') or '0'
end
local function keep(key, ttl)
    if redis.call('PTTL', key) < ttl then redis.call('PEXPIRE', key, string.format('%.0f', ttl)) end
end
local function hold(held, reservation, key, amount, ttl)
    redis.call('ZADD', key .. ':ends', now + ttl, reservation)
    redis.call('HSET', key .. ':amounts', reservation, amount)
    redis.call('HINCRBY', key .. ':amounts', '', amount)
    redis.call('SADD', held, key)
    keep(key .. ':ends', ttl + 60000)
    keep(key .. ':amounts', ttl + 60000)
    keep(held, ttl + 60000)
end
"""
    + GUARD
)

# KEYS[2] is the guard, further keys are the budgets. Further arguments: the time to live, the epoch and the number of
# changes that the caller knows; for each budget its amount, its limit, and 1 if its total must be known. Returns for
# each budget 'ok', 'exhausted' or 'unopened', what is spent, what is reserved, and the parts of ledgers in what is
# spent; only 'lost' after a loss.
RESERVE = (
    BUDGETS
    + """
if is_lost(KEYS[2], ARGV[3], ARGV[4]) then return {'lost'} end
finish(KEYS[1], ARGV[1])
local ttl, result, allowed = tonumber(ARGV[2]), {}, true
for index = 3, #KEYS do
    local spent, reserved = level(KEYS[index])
    local at, to, state = 3 * index - 4, 4 * index - 11, 'ok'
    if ARGV[at + 2] == '1' and not spent then
        state = 'unopened'
    elseif tonumber(spent or 0) + tonumber(reserved) + tonumber(ARGV[at]) > tonumber(ARGV[at + 1]) then
        state = 'exhausted'
    end
    allowed = allowed and state == 'ok'
    result[to], result[to + 1], result[to + 2] = state, spent or '0', reserved
    result[to + 3] = spent and redis.call('HGETALL', KEYS[index] .. ':parts') or {}
end
if not allowed then return result end
for index = 3, #KEYS do
    hold(KEYS[1], ARGV[1], KEYS[index], ARGV[3 * index - 4], ttl)
    result[4 * index - 9] = redis.call('HGET', KEYS[index] .. ':amounts', '')
end
return result
"""
)

# Keys: the guard; then for each reservation its own, the mark that it was settled, and its budgets. Arguments: the
# epoch, the time to live; then for each reservation its name, the number of its budgets, and the amounts. Reserves them
# again, whether or not they fit. Returns 0 if the epoch differs.
HOLD = (
    BUDGETS
    + """
if not is_current(KEYS[1], ARGV[1]) then return 0 end
local ttl, at, key = tonumber(ARGV[2]), 3, 2
while ARGV[at] do
    local reservation, count = ARGV[at], tonumber(ARGV[at + 1])
    if redis.call('EXISTS', KEYS[key + 1]) == 0 then
        finish(KEYS[key], reservation)
        for index = 1, count do hold(KEYS[key], reservation, KEYS[key + 1 + index], ARGV[at + 1 + index], ttl) end
    end
    at, key = at + 2 + count, key + 2 + count
end
return 1
"""
)

RENEW = (
    BUDGETS
    + """
local ttl, renewed = tonumber(ARGV[2]), 0
for _, key in ipairs(redis.call('SMEMBERS', KEYS[1])) do
    local ends = redis.call('ZSCORE', key .. ':ends', ARGV[1])
    if ends and tonumber(ends) > now then
        redis.call('ZADD', key .. ':ends', now + ttl, ARGV[1])
        keep(key .. ':ends', ttl + 60000)
        keep(key .. ':amounts', ttl + 60000)
        renewed = 1
    end
end
keep(KEYS[1], ttl + 60000)
return renewed
"""
)

# KEYS[2] marks that it was settled, KEYS[3] is the guard, KEYS[4] the changed budgets. Further keys are budgets.
# Further arguments: for how long the mark lasts; the epoch and the number of changes that the caller knows; 1 if
# unknown totals stay unknown; the ledger; the amounts used. Returns what happened, the number of changes, the totals.
SETTLE = (
    BUDGETS
    + """
if redis.call('EXISTS', KEYS[2]) == 1 then return {'before'} end
if #KEYS > 4 and is_lost(KEYS[3], ARGV[3], ARGV[4]) then return {'lost'} end
for index = 5, #KEYS do
    if ARGV[5] ~= '1' and redis.call('EXISTS', KEYS[index] .. ':total') == 0 then return {'unopened'} end
end
redis.call('SET', KEYS[2], '1', 'PX', ARGV[2])
finish(KEYS[1], ARGV[1])
local result = {'ok', '0'}
for index = 5, #KEYS do
    local total = KEYS[index] .. ':total'
    if redis.call('EXISTS', total) == 1 then
        result[index - 2] = whole(redis.call('INCRBY', total, ARGV[index + 2]))
        if ARGV[6] ~= '' then
            local parts, lasts = KEYS[index] .. ':parts', redis.call('PTTL', total)
            add_part(parts, ARGV[6], ARGV[index + 2])
            if lasts > 0 then redis.call('PEXPIRE', parts, whole(lasts)) end
        end
        result[2] = whole(note_change(KEYS[3], KEYS[4], KEYS[index]))
    else
        result[index - 2] = ''
    end
end
return result
"""
)

# The keys are budgets. Returns for each what is spent, or nothing, and what is reserved.
LEVELS = (
    BUDGETS
    + """
local result = {}
for index, key in ipairs(KEYS) do
    local spent, reserved = level(key)
    result[2 * index - 1], result[2 * index] = spent or '', reserved
end
return result
"""
)
