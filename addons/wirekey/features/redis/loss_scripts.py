"""The scripts that notice that Redis has lost budgets, and those that restore them.

A hash is the guard. `epoch` is the mark of complete budgets, `NUMBER:RANDOM`; a server that lost its data has none.
`seq` counts the changes of totals, so that one which went back to older data is noticed too. While budgets are being
restored, `restoring` is the epoch to come and `begun` when that began.
A budget has a hash of its `parts`: how much of the total each ledger has, for the first 16 ledgers. And it has a hash
of its restoration: the `epoch`, the `base` (what is known to be spent before the epoch), how much of that each ledger
has, and their sum.
"""

MOST_PARTS = 16
"""Ledgers whose part of a budget is kept: each reservation returns them, and a fleet may have new ones every day."""
GUARD = """
local function is_lost(guard, epoch, seen)
    if epoch == '' then return false end
    local found = redis.call('HMGET', guard, 'epoch', 'seq')
    return found[1] ~= epoch or tonumber(found[2] or 0) < tonumber(seen)
end
local function note_change(guard, changed, key)
    local number = redis.call('HINCRBY', guard, 'seq', 1)
    redis.call('ZADD', changed, number, key)
    return number
end
local function is_current(guard, epoch)
    local found = redis.call('HMGET', guard, 'epoch', 'restoring')
    return found[1] == epoch or found[2] == epoch
end
local function whole(number) return string.format('%.0f', number) end
local function add_part(parts, ledger, amount)
    if redis.call('HEXISTS', parts, ledger) == 1 or redis.call('HLEN', parts) < MOST_PARTS then
        redis.call('HINCRBY', parts, ledger, amount)
    end
end
""".replace("MOST_PARTS", str(MOST_PARTS))

# Keys: guard, processes that joined, ledgers that joined. Arguments: the epoch and the number of changes that the
# caller knows, and the epoch to begin. Returns the epoch to restore, and 1 if it is complete.
BEGIN = """
local clock = redis.call('TIME')
local function number(epoch) return tonumber(string.match(epoch, '^%d+') or 0) end
local found = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'restoring')
if found[1] then
    local older = number(found[1]) < number(ARGV[1])
    if found[1] == ARGV[1] then older = tonumber(found[2] or 0) < tonumber(ARGV[2]) end
    if not older then return {found[1], 1} end
end
if found[1] or not found[3] then
    redis.call('HDEL', KEYS[1], 'epoch')
    redis.call('HSET', KEYS[1], 'restoring', ARGV[3], 'begun', clock[1] * 1000 + math.floor(clock[2] / 1000))
    redis.call('DEL', KEYS[2], KEYS[3])
    return {ARGV[3], 0}
end
return {found[3], 0}
"""

# Keys: guard, changed, ledgers that joined, budgets. Arguments: the epoch; the ledger; for each budget the total that
# was seen last, for how many milliseconds it lasts, the part of the ledger, and the number of the parts that were seen
# with a ledger and an amount for each. Returns 0 if the epoch differs.
# The total grows by what is known above the base: also by that of a process which comes late.
CONTRIBUTE = (
    GUARD
    + """
if not is_current(KEYS[1], ARGV[1]) then return 0 end
local is_new = redis.call('SISMEMBER', KEYS[3], ARGV[2]) == 0
local at = 3
for index = 4, #KEYS do
    local total, restored, parts = KEYS[index] .. ':total', KEYS[index] .. ':restored', KEYS[index] .. ':parts'
    local seen, lasts, own, count = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), ARGV[at + 2], tonumber(ARGV[at + 3])
    local function know(ledger, amount)
        local more = tonumber(amount) - tonumber(redis.call('HGET', restored, 'ledger:' .. ledger) or 0)
        if more > 0 then
            redis.call('HSET', restored, 'ledger:' .. ledger, amount)
            redis.call('HINCRBY', restored, 'sum', whole(more))
            return whole(more)
        end
    end
    local function add(ledger, amount)
        local more = know(ledger, amount)
        if more then add_part(parts, ledger, more) end
    end
    if redis.call('HGET', restored, 'epoch') ~= ARGV[1] then
        redis.call('DEL', restored)
        redis.call('HSET', restored, 'epoch', ARGV[1], 'base', redis.call('GET', total) or '0')
        local found = redis.call('HGETALL', parts)
        for each = 1, #found, 2 do know(found[each], found[each + 1]) end
    end
    if is_new and redis.call('HSETNX', restored, 'own:' .. ARGV[2], '1') == 1 then add(ARGV[2], own) end
    for each = at + 4, at + 2 + 2 * count, 2 do add(ARGV[each], ARGV[each + 1]) end
    at = at + 4 + 2 * count
    local base = tonumber(redis.call('HGET', restored, 'base'))
    local known = math.max(seen, tonumber(redis.call('HGET', restored, 'sum') or 0))
    if known > base then
        redis.call('INCRBY', total, whole(known - base))
        redis.call('HSET', restored, 'base', whole(known))
        note_change(KEYS[1], KEYS[2], KEYS[index])
    end
    for _, key in ipairs({total, restored, parts}) do
        if redis.call('PTTL', key) < lasts then redis.call('PEXPIRE', key, whole(lasts)) end
    end
end
return 1
"""
)

# Keys: total, its restoration. Arguments: the amount, for how many milliseconds it lasts, and the epoch. Returns 1 if
# the total was set. Nothing was spent of it in this epoch before, except what a process adds that comes late.
OPEN = """
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 0 end
if ARGV[3] ~= '' then
    redis.call('DEL', KEYS[2])
    redis.call('HSET', KEYS[2], 'epoch', ARGV[3], 'base', ARGV[1])
    redis.call('PEXPIRE', KEYS[2], ARGV[2])
end
return 1
"""

# Keys: guard, joined, ledgers. Arguments: the epoch, the process, its ledger, how many processes are expected, for how
# many milliseconds to wait in any case, as there may be more, and for how many to wait at most. Returns 1 if the
# budgets are complete, 0 if not yet, -1 for another epoch.
FINISH = """
local clock = redis.call('TIME')
local found = redis.call('HMGET', KEYS[1], 'epoch', 'restoring', 'begun')
if found[1] ~= ARGV[1] and found[2] ~= ARGV[1] then return -1 end
redis.call('SADD', KEYS[3], ARGV[3])
if found[1] == ARGV[1] then return 1 end
redis.call('SADD', KEYS[2], ARGV[2])
local waited = clock[1] * 1000 + math.floor(clock[2] / 1000) - tonumber(found[3])
local came = redis.call('SCARD', KEYS[2]) >= tonumber(ARGV[4]) and waited >= tonumber(ARGV[5])
if came or waited < 0 or waited >= tonumber(ARGV[6]) then
    redis.call('HSET', KEYS[1], 'epoch', ARGV[1])
    redis.call('HDEL', KEYS[1], 'restoring', 'begun')
    return 1
end
return 0
"""

# Keys: guard, changed. Arguments: the epoch, the number of changes that the caller knows, the number up to which it
# has read totals, how many to read at most, and how many to keep. Returns 'lost' after a loss; otherwise the
# number of changes, and for each total its key, its number, the amount, for how many milliseconds it lasts, and the
# ledgers with their parts.
WATCH = (
    GUARD
    + """
if is_lost(KEYS[1], ARGV[1], ARGV[2]) then return {'lost'} end
local result = {redis.call('HGET', KEYS[1], 'seq') or '0'}
local read = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[3], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[4])
for index = 1, #read, 2 do
    local total = read[index] .. ':total'
    local amount, lasts = redis.call('GET', total) or '', redis.call('PTTL', total)
    local parts = redis.call('HGETALL', read[index] .. ':parts')
    for _, each in ipairs({read[index], read[index + 1], amount, lasts, parts}) do result[#result + 1] = each end
end
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -ARGV[5] - 1)
return result
"""
)
