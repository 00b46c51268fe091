-- wrk: log-ins of companies that nobody asked for yet. Arguments: the first company's number, a token.
local threads = 0
local company, head

function setup(thread)
    thread:set("number", threads)
    threads = threads + 1
end

function init(args)
    company = tonumber(args[1]) + number * 10000000
    head = { ["Authorization"] = "Bearer " .. args[2], ["Content-Type"] = "application/json" }
end

function request()
    company = company + 1
    return wrk.format("POST", "/api/v1/app/jobs/execute", head, string.format(
        '{"company_id":%d,"portal":"sunat","action":"sunat.menu_sol_login","params":{"ruc":"20%09d","usuario":"DEMO","clave":"demo"}}',
        company, company))
end

function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format('RESULT {"requests":%d,"duration_us":%d,"bytes":%d,"bad_status":%d,"socket_errors":%d,',
        summary.requests, summary.duration, summary.bytes, errors.status,
        errors.connect + errors.read + errors.write + errors.timeout))
    io.write(string.format('"p50_us":%d,"p99_us":%d,"p999_us":%d,"max_us":%d}\n',
        latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max))
end
