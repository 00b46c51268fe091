-- wrk: GETs of the paths of a file, one after another, again from the first after the last. Arguments: the file (a path a line), a token.
local requests = {}
local threads = 0
local at = 0

function setup(thread)
    thread:set("number", threads)
    threads = threads + 1
end

function init(args)
    local headers = { ["Authorization"] = "Bearer " .. args[2] }
    for path in io.lines(args[1]) do
        requests[#requests + 1] = wrk.format("GET", path, headers)
    end
    at = math.floor(number * #requests / 2)
end

function request()
    at = at % #requests + 1
    return requests[at]
end
