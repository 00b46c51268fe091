-- wrk: GETs of random paths of a file. Arguments: the file (a path a line), and a token or nothing.
local requests = {}

function init(args)
    math.randomseed(tonumber(tostring({}):match("0x(%x+)"), 16) % 2147483647)
    local headers = {}
    if args[2] then
        headers["Authorization"] = "Bearer " .. args[2]
    end
    for path in io.lines(args[1]) do
        requests[#requests + 1] = wrk.format("GET", path, headers)
    end
end

function request()
    return requests[math.random(#requests)]
end

function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format('RESULT {"requests":%d,"duration_us":%d,"bytes":%d,"bad_status":%d,"socket_errors":%d,',
        summary.requests, summary.duration, summary.bytes, errors.status,
        errors.connect + errors.read + errors.write + errors.timeout))
    io.write(string.format('"p50_us":%d,"p99_us":%d,"p999_us":%d,"max_us":%d}\n',
        latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max))
end
