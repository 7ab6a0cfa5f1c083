#include "detail/run_blocking.hpp"
#include "exec/service.hpp"
#include "exec/streaming.hpp"

#include <hf/sandbox/error.hpp>
#include <hf/sandbox/wire/parse_requests.hpp>
#include <hf/sandbox/wire/processes.hpp>
#include <hf/sandbox/wire/routes.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <limits>
#include <utility>

namespace hf::agent {
namespace {

// How long a question after an operation waits for its start.
constexpr std::chrono::seconds longest_start_wait(5);
// From this size on a request is parsed where it holds nobody up.
constexpr std::size_t large_request = 64 * 1024;

sha256_digest run_digest(std::vector<std::string> const& path, std::string_view body) {
  sha256 digest;
  for (auto const& segment : path) {
    digest.update(segment);
    digest.update("/");
  }
  digest.update("\n");
  digest.update(body);
  return digest.finish();
}

template <class Parse>
auto parse_body(Parse&& parse, std::string_view body) {
  try {
    return parse(body);
  } catch (hf::error const& e) {
    throw http_error{400, "invalid_argument", e.what()};
  }
}

std::uint64_t number_parameter(exchange const& ex, std::string const& name,
                               std::uint64_t otherwise) {
  auto const it = ex.head().query.find(name);
  if (it == ex.head().query.end())
    return otherwise;
  std::uint64_t value = 0;
  auto const end = it->second.data() + it->second.size();
  auto const parsed = std::from_chars(it->second.data(), end, value);
  if (it->second.empty() || parsed.ec != std::errc() || parsed.ptr != end)
    throw http_error{400, "invalid_argument", "'" + name + "' must be an integer, not negative"};
  return value;
}

bool flag_parameter(exchange const& ex, std::string const& name) {
  auto const it = ex.head().query.find(name);
  if (it == ex.head().query.end())
    return false;
  if (it->second == "1" || it->second == "true")
    return true;
  if (it->second == "0" || it->second == "false")
    return false;
  throw http_error{400, "invalid_argument", "'" + name + "' must be 1 or 0"};
}

// Seconds with a fraction; nothing: no limit.
std::optional<std::chrono::milliseconds> time_parameter(exchange const& ex,
                                                        std::string const& name) {
  auto const it = ex.head().query.find(name);
  if (it == ex.head().query.end())
    return std::nullopt;
  constexpr std::size_t longest_number = 64;
  auto const value = it->second.size() <= longest_number ? json::parse(it->second, nullptr, false)
                                                         : json(json::value_t::discarded);
  if (!value.is_number() || !(value.get<double>() >= 0))
    throw http_error{400, "invalid_argument",
                     "'" + name + "' must be a number of seconds, not negative"};
  return std::chrono::milliseconds(
      static_cast<std::int64_t>((std::min)(value.get<double>(), 1e9) * 1000));
}

http_error output_gone(run const& what) {
  json extra = json::object();
  extra["first_seq"] = what.first_seq();
  extra["id"] = what.id();
  return {410, "output_gone",
          "the output before record " + std::to_string(what.first_seq()) + " is no longer kept",
          std::move(extra)};
}

// Whether everything behind that record can be had.
void check_place(run const& what, std::uint64_t after) {
  if (after > what.status().last_seq)
    throw http_error{400, "invalid_argument", "'after' is beyond the last record"};
  if (after + 1 < what.first_seq())
    throw output_gone(what);
}

json started_to_json(run const& what, bool with_command) {
  auto const entry = wire::process_entry_to_json(what.entry());
  json answer = json::object();
  for (char const* name : {"id", "pid", "tag"})
    answer[name] = entry[name];
  if (with_command)
    answer["cmd"] = entry["cmd"];
  return answer;
}

}  // namespace

asio::awaitable<exec_service::incoming> exec_service::read_request(exchange& ex) {
  std::string const body = co_await ex.read_all(wire::max_json_body);
  auto read = [&body, &path = ex.head().path] {
    incoming what;
    what.request = parse_body(wire::parse_exec_request<>, body);
    if (!what.request.op.empty())
      what.digest = run_digest(path, body);
    return what;
  };
  if (body.size() < large_request)
    co_return read();
  co_return co_await run_blocking(core_->parser, std::move(read));
}

asio::awaitable<void> exec_service::exec(exchange& ex) {
  incoming what = co_await read_request(ex);
  bool const background = what.request.background;
  stream_options options;
  options.start = true;
  options.numbered = what.request.v >= 2;
  if (background) {
    auto const started = co_await obtain(ex, std::move(what), false);
    json const answer = started_to_json(*started, false);
    co_await ex.respond(200, answer);
    co_return;
  }
  std::optional<attachment> place;
  auto const started = co_await obtain(ex, std::move(what), true, &place);
  if (!place) {
    if (started->first_seq() > 1)
      throw output_gone(*started);
    place.emplace(started, 0);
  }
  co_await stream_events(ex, *core_, *place, options);
  place.reset();
  table_.delivered(*started);
}

asio::awaitable<void> exec_service::start_process(exchange& ex) {
  incoming what = co_await read_request(ex);
  auto const started = co_await obtain(ex, std::move(what), false);
  json const answer = started_to_json(*started, true);
  co_await ex.respond(200, answer);
}

asio::awaitable<void> exec_service::list_processes(exchange& ex) {
  json answer = json::array();
  for (auto const& one : table_.list(flag_parameter(ex, "all")))
    answer.push_back(wire::process_entry_to_json(one->entry()));
  co_await ex.respond(200, answer);
}

asio::awaitable<void> exec_service::delete_process(exchange& ex, std::string id) {
  refuse_if_meant_for_another(ex);
  auto found = table_.by_id(id);
  if (!found) {
    std::int64_t pid = 0;
    auto const end = id.data() + id.size();
    auto const parsed = std::from_chars(id.data(), end, pid);
    bool const digits = parsed.ec == std::errc() && parsed.ptr == end && pid > 0;
    if (digits)
      found = table_.by_pid(pid);
    bool const proper =
        id.size() > 2 && id.starts_with("p-") && id.find_first_not_of("0123456789", 2) == id.npos;
    // A pid that is nobody's is no mistake: clients delete a process by its pid, and once more.
    if (!proper && !digits)
      throw http_error{400, "invalid_argument", "invalid process id (expected p-<n>): " + id};
  }
  json answer = json::object();
  answer["id"] = id;
  answer["killed"] = false;
  if (found) {
    // It tells of the command; descendants that it has left behind are killed without a word.
    answer["killed"] = found->leader_alive();
    found->kill();
    while (found->killing())
      co_await found->changed().wait(ex.executor(), std::chrono::seconds(1));
    if (found->survivors() != 0)
      answer["survivors"] = found->survivors();
    if (found->unattributed() != 0)
      answer["unattributed"] = found->unattributed();
    table_.remove(*found);
  }
  co_await ex.respond(200, answer);
}

asio::awaitable<void> exec_service::process_events(exchange& ex, std::string id) {
  auto const found = require(ex, id);
  auto const after = number_parameter(ex, "after", 0);
  stream_options options;
  options.follow = flag_parameter(ex, "follow");
  check_place(*found, after);
  {
    attachment place(found, after);
    co_await stream_events(ex, *core_, place, options);
  }
  if (found->is_exit_delivered())
    table_.delivered(*found);
}

asio::awaitable<void> exec_service::process_wait(exchange& ex, std::string id) {
  auto const found = require(ex, id);
  auto const longest = time_parameter(ex, "timeout");
  bool gone = false;
  ex.on_caller_gone([&gone, found] {
    gone = true;
    found->changed().notify();
  });
  auto const active = core_->shared.activity.hold();
  auto const until = run::clock::now() + longest.value_or(std::chrono::hours(24 * 365));
  while (!found->ended() && !gone && run::clock::now() < until)
    co_await found->changed().wait(ex.executor(), until - run::clock::now());
  json const answer = wire::run_status_to_json(found->status());
  co_await ex.respond(200, answer);
}

asio::awaitable<void> exec_service::process_signal(exchange& ex, std::string id) {
  std::string const body = co_await ex.read_all(64 * 1024);
  auto const request = parse_body(wire::parse_signal_request<>, body);
  auto const found = require(ex, id);
  auto const reached = co_await found->send_signal(request.signal, request.scope);
  json answer = json::object();
  answer["id"] = id;
  answer["signalled"] = reached;
  co_await ex.respond(200, answer);
}

asio::awaitable<void> exec_service::process_stdin(exchange& ex, std::string id) {
  auto const found = require(ex, id);
  auto const offset = number_parameter(ex, "offset", 0);
  bool const eof = flag_parameter(ex, "eof");
  if (!found->has_input_stream() || !found->input())
    throw http_error{409, "conflict", "the input of this process is not streamed"};
  co_await found->input()->feed(ex, offset, eof);
}

asio::awaitable<void> exec_service::operation(exchange& ex, std::string op) {
  for (char& c : op)
    if (c >= 'A' && c <= 'F')
      c = static_cast<char>(c - 'A' + 'a');
  if (!wire::is_operation_id(op))
    throw http_error{400, "invalid_argument", "an operation id has 32 hexadecimal digits"};
  refuse_if_meant_for_another(ex);
  // Whether it has started is not known before that is settled.
  auto const until = run::clock::now() + longest_start_wait;
  for (auto one = starting_by_op(op); one && one->starting() && run::clock::now() < until;)
    co_await one->changed().wait(ex.executor(), until - run::clock::now());
  if (starting_by_op(op))
    throw http_error{503, "resource_exhausted", "the operation is still being started"};
  auto const found = table_.by_op(op);
  if (!found) {
    json extra = json::object();
    extra["state"] = "unknown";
    if (ops_.look(op) == op_registry::verdict::fresh)
      throw http_error{404, "op_unknown", "no such operation: " + op, std::move(extra)};
    extra["state"] = "forgotten";
    throw http_error{410, "output_gone", "the operation has ended and its result is forgotten",
                     std::move(extra)};
  }
  json const answer = wire::run_status_to_json(found->status());
  co_await ex.respond(200, answer);
}

void add_exec_routes(router& routes, std::string_view prefix, exec_service_of service_of) {
  using route = asio::awaitable<void> (exec_service::*)(exchange&);
  using route_with_id = asio::awaitable<void> (exec_service::*)(exchange&, std::string);
  std::string const below(prefix);
  auto const add = [&](char const* method, char const* path, route handle) {
    routes.add(method, below + path,
               [service_of, handle](exchange& ex) { return (service_of(ex).*handle)(ex); });
  };
  // "/v1" is one segment, then "processes", then the id.
  auto const id_at = static_cast<std::size_t>(std::count(below.begin(), below.end(), '/')) + 1;
  auto const add_with_id = [&](char const* method, char const* path, route_with_id handle) {
    routes.add(method, below + path, [service_of, handle, id_at](exchange& ex) {
      return (service_of(ex).*handle)(ex, ex.head().path[id_at]);
    });
  };
  add("POST", "/exec", &exec_service::exec);
  add("POST", "/processes", &exec_service::start_process);
  add("GET", "/processes", &exec_service::list_processes);
  add_with_id("DELETE", "/processes/{id}", &exec_service::delete_process);
  add_with_id("GET", "/processes/{id}/events", &exec_service::process_events);
  add_with_id("GET", "/processes/{id}/wait", &exec_service::process_wait);
  add_with_id("POST", "/processes/{id}/signal", &exec_service::process_signal);
  add_with_id("POST", "/processes/{id}/stdin", &exec_service::process_stdin);
  add_with_id("GET", "/ops/{op}", &exec_service::operation);
}

}  // namespace hf::agent
