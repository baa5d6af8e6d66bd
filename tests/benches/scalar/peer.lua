-- The functions of `lang/benches/scalar/functions.evo` for LuaJIT. Answers as peer.c does.
local cos, exp, log, sqrt, abs, max, min = math.cos, math.exp, math.log, math.sqrt, math.abs, math.max, math.min
local SETS, TAU = 256, 6.283185307179586
local ffi = require("ffi")

local function rastrigin(x, at, n)
  local sum = 0
  for i = at, at + n - 1 do sum = sum + (x[i] * x[i] - 10 * cos(TAU * x[i])) end
  return 10 * n + sum
end

local function rosenbrock(x, at, n)
  local sum = 0
  for i = at, at + n - 2 do
    local valley, slope = x[i + 1] - x[i] * x[i], 1 - x[i]
    sum = sum + (100 * (valley * valley) + slope * slope)
  end
  return sum
end

local function formula(x, at)
  local a, b, c, d = x[at], x[at + 1], x[at + 2], x[at + 3]
  local s = a * b + c * d
  local t = (a - c) / (1 + b * b)
  local u = sqrt(s * s + t * t + 0.5)
  local v = exp(-(t * t)) * (u - 0.25 * a)
  local w = max(a, b) - min(c, d) + abs(s - u)
  local p = ((0.1 * u + 0.2) * u - 0.3) * u + 0.4
  local q = (v + w) * (v - w) + p * p
  local r = log(1 + q * q) / (2 + abs(p))
  local z = cos(r) * s + (q > 0 and t or u)
  return z * z - 0.5 * r + w
end

local cases = {
  rastrigin10 = { rastrigin, 10 }, rastrigin100 = { rastrigin, 100 }, rosenbrock10 = { rosenbrock, 10 },
  rosenbrock100 = { rosenbrock, 100 }, formula = { formula, 4 },
}

for line in io.lines() do
  local f, n = unpack(cases[line])
  local x = ffi.new("double[?]", SETS * n)
  for s = 0, SETS - 1 do
    for i = 0, n - 1 do x[s * n + i] = (i * 7919 + s * 104729) % 10007 / 10007 * 4 - 2 end
  end
  local function all()
    local sum = 0
    for s = 0, SETS - 1 do sum = sum + f(x, s * n, n) end
    return sum
  end
  local sum
  for _ = 1, 50 do sum = all() end
  local rounds, start = 0, os.clock()
  while os.clock() - start < 0.02 do
    sum = all()
    rounds = rounds + 1
  end
  print(string.format("%.17g %.17g", (os.clock() - start) * 1e9 / (rounds * SETS), sum))
  io.flush()
end
