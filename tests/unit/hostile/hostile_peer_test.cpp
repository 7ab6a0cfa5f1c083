// Whatever a peer answers, a call ends in a result or in one hf::error, in bounded memory and time,
// and the error shows neither a secret nor a control character.

#include "support/allocation_count.hpp"

#include <hf/sandbox/agent/ready.hpp>
#include <hf/sandbox/docker/image.hpp>
#include <hf/sandbox/files.hpp>
#include <hf/sandbox/hub/job_streams.hpp>
#include <hf/sandbox/launchers/docker.hpp>
#include <hf/sandbox/process.hpp>
#include <hf/sandbox/wire/routes.hpp>

#include <catch2/catch_message.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace {

using hf::errc;
using hf::testing_support::allocation_count;

std::string const agent_token = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
std::string const hub_token = "hf_SecretOfTheHubThatNobodyMayShow";
std::string const user_secret = "a-secret-of-the-user's";

/// One way to answer, whatever was asked.
struct answer {
  std::string name;
  int status = 200;
  std::string body = {};
  hf::http::headers fields = {};
  bool instance = true;
  /// How often the body is sent.
  int times = 1;
  bool breaks = false;
};

struct hostile_peer {
  struct state {
    answer how = {};
    std::uint64_t sent = 0;
    int requests = 0;
  };
  std::shared_ptr<state> at = std::make_shared<state>();

  /// Repeats everything of the request that a peer sees, with what harms a terminal.
  static std::string echo(hf::http::request const& rq) {
    std::string text = "you said \r\n\x1b[2J\x9b\x07 " + rq.url + " ";
    for (auto const& field : rq.fields)
      text += field.name + ": " + field.value + "\r\n";
    if (rq.body.reader() == nullptr)
      text += rq.body.text().substr(0, 4000);
    return text;
  }

  void send(hf::http::request const& rq, hf::http::response_sink& sink) {
    // No call may ask for ever.
    if (++at->requests > 400)
      throw std::logic_error("asked without end");
    auto const& how = at->how;
    if (how.status == 0)
      throw hf::error(errc::protocol_error, "malformed answer: " + echo(rq),
                      {.request_id = echo(rq), .may_have_reached_peer = true});
    auto const echoed = echo(rq);
    hf::http::response_head head{how.status, {}};
    for (auto const& field : how.fields)
      head.fields.add(field.name, field.value == "ECHO" ? echoed : field.value);
    if (how.instance)
      head.fields.set(std::string(hf::wire::instance_header), "A");
    auto body = how.body;
    auto const replace = [&](std::string_view mark, std::string const& by) {
      for (std::size_t i = 0; (i = body.find(mark, i)) != std::string::npos; i += by.size())
        body.replace(i, mark.size(), by);
    };
    auto const quoted =
        nlohmann::json(echoed).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    replace("\"ECHO\"", quoted);
    replace("ECHO", echoed);
    if (sink.on_head(head) == hf::http::flow::stop)
      return;
    constexpr std::size_t piece = 65536;
    for (int i = 0; i < how.times; ++i)
      for (std::string_view rest(body); !rest.empty();) {
        auto const part = rest.substr(0, piece);
        at->sent += part.size();
        if (sink.on_data(std::as_bytes(std::span(part.data(), part.size()))) ==
            hf::http::flow::stop)
          return;
        rest.remove_prefix(part.size());
      }
    if (how.breaks)
      throw hf::error(errc::connection_lost, "reset", {.may_have_reached_peer = true});
  }
};
static_assert(hf::transport<hostile_peer>);

std::string repeat(std::string_view text, std::size_t bytes) {
  std::string out;
  out.reserve(bytes + text.size());
  while (out.size() < bytes)
    out += text;
  return out;
}

std::vector<answer> answers() {
  constexpr std::size_t large = 1u << 18;
  std::vector<answer> out;
  for (int const status : {200, 400, 403, 404, 410, 500}) {
    auto const name = std::to_string(status);
    auto const add = [&](std::string what, std::string body, hf::http::headers fields = {}) {
      out.push_back({name + " " + std::move(what), status, std::move(body), std::move(fields)});
    };
    add("nothing", "");
    add("echo in every field",
        R"({"error":"ECHO","message":"ECHO","code":"ECHO","stage":"ECHO",)"
        R"("id":"ECHO","Id":"ECHO","pid":1,"state":"ECHO","name":"ECHO",)"
        R"("errors":[{"message":"ECHO"}],"error_description":"ECHO"})",
        {{"X-Request-Id", "ECHO"}, {"X-Error-Message", "ECHO"}, {"X-Error-Code", "ECHO"}});
    add("echo as text", "ECHO", {{"X-Amzn-Trace-Id", "ECHO"}});
    if (status == 200 || status == 404)
      add("deep arrays", repeat("[", large) + "\n");
    if (status != 200)
      continue;
    add("deep objects", repeat("{\"a\":", large) + "\n");
    add("deep arrays in an event", "data: " + repeat("[", large) + "\n\n");
    add("many values", "[" + repeat("[],", large) + "0]\n");
    add("many numbers", "[" + repeat("1,", large) + "1]\n");
    add("many objects", "[" + repeat("{\"\":{}},", large) + "{}]\n");
    add("one long string", "{\"error\":\"" + repeat("\\u001b", large) + "\"}\n");
    add("zeros", std::string(large, '\0'));
  }
  auto const json = [&](std::string body) {
    out.push_back({"200 " + body.substr(0, 60), 200, body + "\n"});
  };
  // Right in form and wrong in type or range.
  for (char const* const value : {"\"text\"", "1e300", "18446744073709551615", "[null]"}) {
    std::string const v = value;
    json(v);
    json("[" + v + "]");
    json("{\"id\":" + v + ",\"pid\":" + v + ",\"state\":\"exited\",\"exit\":" + v + "}");
    json("{\"id\":\"p-1\",\"pid\":1,\"state\":\"exited\",\"exit\":{\"exit_code\":" + v +
         ",\"signal\":" + v + ",\"duration_ms\":" + v + "}}");
    json("[{\"id\":" + v + ",\"pid\":1,\"cmd\":" + v + ",\"exit_code\":" + v + "}]");
    json("{\"protocol\":" + v + ",\"version\":" + v + ",\"features\":" + v + ",\"status\":\"ok\"}");
    json("{\"entries\":" + v + ",\"truncated\":true,\"next\":" + v + "}");
    json("{\"name\":\"x\",\"size\":" + v + ",\"mtime_ms\":" + v + ",\"mode\":" + v + "}");
    json("{\"path\":" + v + ",\"size\":" + v + ",\"atomic\":" + v + "}");
    json("{\"event\":\"start\",\"pid\":" + v + ",\"id\":" + v + "}");
    json("{\"event\":\"stdout\",\"data\":" + v + ",\"seq\":" + v + "}");
    json("{\"event\":\"exit\",\"exit_code\":" + v + ",\"seq\":" + v + "}");
    // The Hub's and Docker's.
    json("{\"id\":\"j\",\"status\":{\"stage\":" + v + ",\"exposeUrls\":" + v + "},\"labels\":" + v +
         "}");
    json("data: {\"data\":" + v + ",\"cpu_usage_pct\":" + v + ",\"gpus\":" + v + "}\n");
    json("{\"Id\":\"c\",\"Config\":" + v + ",\"State\":" + v + ",\"NetworkSettings\":" + v +
         ",\"Mounts\":" + v + "}");
    json("{\"Id\":\"c\",\"Config\":{\"Labels\":{\"hf-sandbox\":\"1\"},\"Env\":" + v +
         "},\"State\":{\"Status\":\"exited\",\"ExitCode\":" + v + ",\"OOMKilled\":" + v +
         "},\"NetworkSettings\":{\"Ports\":" + v + ",\"Networks\":" + v + "}}");
    json("[{\"Id\":" + v + ",\"Labels\":" + v + ",\"Created\":" + v + ",\"State\":\"exited\"}]");
    json("{\"NCPU\":" + v + "}");
    json("{\"status\":\"Downloading\",\"id\":\"l\",\"progressDetail\":{\"current\":" + v +
         ",\"total\":" + v + "}}");
  }
  out.push_back({"no HTTP", 0});
  out.push_back({"200 without an end", 200, repeat("x", large), {}, true, 80});
  out.push_back({"200 breaks at once", 200, "", {}, true, 1, true});
  out.push_back({"200 of a gateway", 200, "<html>ECHO</html>", {}, false});
  out.push_back({"302 of a gateway", 302, "", {{"Location", "ECHO"}}, false});
  out.push_back({"404 of a gateway", 404, "{\"error\":\"ECHO\"}", {}, false});
  out.push_back({"599 of a gateway", 599, "ECHO", {{"Retry-After", "1e300"}}, false});
  out.push_back(
      {"429 for ages", 429, "ECHO", {{"Retry-After", "1e300"}, {"RateLimit", "t=1e999"}}});
  return out;
}

struct call {
  std::string name;
  std::function<void(hostile_peer&)> make;
};

std::string shown(hf::error const& e) {
  return std::string(e.what()) + e.request_id() + e.details().stage;
}

void check_harmless(hf::error const& e) {
  auto const text = shown(e);
  for (auto const& secret : {agent_token, hub_token, user_secret})
    if (text.find(secret) != std::string::npos)
      FAIL_CHECK("a secret in: " << text);
  for (char const c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      FAIL_CHECK("a control character " << int{c} << " in: " << text);
      break;
    }
  if (!hf::detail::is_utf8(text))
    FAIL_CHECK("bytes that are not UTF-8 in: " << text);
  if (text.size() > 10'000)
    FAIL_CHECK("a text of " << text.size() << " bytes");
}

/// Each call with each answer.
void try_all(std::vector<call> const& calls) {
  std::size_t tried = 0;
  std::size_t failed = 0;
  for (auto const& how : answers())
    for (auto const& call : calls) {
      hostile_peer peer;
      peer.at->how = how;
      INFO(call.name << " answered with: " << how.name);
      allocation_count::reset();
      auto const before = allocation_count::live.load();
      auto const began = std::chrono::steady_clock::now();
      ++tried;
      try {
        call.make(peer);
      } catch (hf::error const& e) {
        ++failed;
        check_harmless(e);
      } catch (std::exception const& e) {
        FAIL_CHECK("not an hf::error: " << e.what());
      }
      // A value takes at most some 24 times what it was sent in, vectors that grow included.
      auto const most = (std::uint64_t{6} << 20) + 32 * peer.at->sent;
      auto const used =
          allocation_count::peak.load() - (std::min)(before, allocation_count::peak.load());
      if (used > (std::min)(most, std::uint64_t{256} << 20))
        FAIL_CHECK(used << " bytes of memory for " << peer.at->sent << " received");
      // Far above what it takes: hangs are meant.
      if (std::chrono::steady_clock::now() - began > std::chrono::seconds(60))
        FAIL_CHECK("it took more than a minute");
    }
  // The table must not pass because nothing went wrong.
  CHECK(failed > tried / 4);
}

using client = hf::agent_client<hostile_peer>;

std::shared_ptr<client> agent_of(hostile_peer& peer) {
  hf::agent_health health;
  health.instance = "A";
  health.protocol = 3;
  health.features_known = true;
  for (char const* const name :
       {"wait", "events", "signal", "stdin_stream", "merge_stderr", "user"})
    health.features[name] = "";
  auto agent = std::make_shared<client>(
      peer,
      hf::endpoint{.url = "http://localhost",
                   .headers = {{std::string(hf::wire::token_header), agent_token},
                               {"Authorization", "Bearer " + hub_token}}},
      std::move(health));
  agent->on_unreachable([] { return false; });
  return agent;
}

std::chrono::steady_clock::time_point soon() {
  return std::chrono::steady_clock::now() + std::chrono::milliseconds(15);
}
hf::call_options brief() {
  return {.deadline = soon()};
}
template <class Options = hf::exec_options>
Options brief_run() {
  Options options;
  options.deadline = soon();
  options.reconnect_budget = std::chrono::milliseconds(0);
  return options;
}

hf::basic_process<hostile_peer> process_of(hostile_peer& peer) {
  hf::run_handle handle;
  handle.process_id = "p-1";
  handle.agent_instance = "A";
  return {agent_of(peer), [] { return false; }, handle, 5};
}
hf::basic_files<hostile_peer> files_of(hostile_peer& peer) {
  return hf::basic_files<hostile_peer>(agent_of(peer));
}

hf::hub::jobs hub_of() {
  hf::hub::settings how;
  how.token = hub_token;
  how.endpoint = "http://localhost:1";
  how.retries.attempts = 1;
  how.retries.late = std::chrono::milliseconds(0);
  return hf::hub::jobs(hf::hub::client(how));
}

}  // namespace

TEST_CASE("a hostile agent: every call ends in a result or an hf::error") {
  std::function<bool()> const alive = [] { return false; };
  try_all({
      {"exec",
       [&](auto& peer) { hf::detail::exec(*agent_of(peer), {"true"}, brief_run(), alive); }},
      {"exec with input",
       [&](auto& peer) {
         auto options = brief_run();
         options.input = std::string((1u << 20) + 1, 'x');
         hf::detail::exec(*agent_of(peer), {"true"}, options, alive);
       }},
      {"spawn",
       [](auto& peer) {
         hf::detail::spawn(*agent_of(peer), {"true"}, brief_run<hf::spawn_options>());
       }},
      {"resume",
       [&](auto& peer) {
         hf::run_handle handle;
         handle.operation_id = std::string(32, 'a');
         hf::detail::attach(*agent_of(peer), handle, brief_run<hf::follow_options>(), alive);
       }},
      {"list processes", [](auto& peer) { hf::detail::list_processes(*agent_of(peer), brief()); }},
      {"features",
       [](auto& peer) { client(peer, agent_of(peer)->endpoint()).require("none", brief()); }},
      {"health",
       [](auto& peer) {
         static_cast<void>(hf::detail::probe_health(peer, agent_of(peer)->endpoint(),
                                                    std::chrono::milliseconds(15), {}));
       }},
      {"wait", [](auto& peer) { process_of(peer).wait(brief()); }},
      {"status", [](auto& peer) { process_of(peer).status(brief()); }},
      {"kill", [](auto& peer) { process_of(peer).kill(brief()); }},
      {"signal", [](auto& peer) { process_of(peer).signal(15, hf::signal_scope::tree, brief()); }},
      {"follow", [](auto& peer) { process_of(peer).follow(brief_run<hf::follow_options>()); }},
      {"output", [](auto& peer) { process_of(peer).output(0, brief()); }},
      {"write input", [](auto& peer) { process_of(peer).write_input("x", 0, false, brief()); }},
      {"read",
       [](auto& peer) {
         static_cast<void>(
             files_of(peer).read("/x", {.max_size = 1u << 20, .transfer = {.deadline = soon()}}));
       }},
      {"read in parts",
       [](auto& peer) {
         static_cast<void>(files_of(peer).read(
             "/x", {.max_size = 1u << 20,
                    .transfer = {.streams = 4, .threshold = 1000, .deadline = soon()}}));
       }},
      {"write",
       [](auto& peer) { files_of(peer).write("/x", "x", {.transfer = {.deadline = soon()}}); }},
      {"list", [](auto& peer) { static_cast<void>(files_of(peer).list("/x", brief())); }},
      {"stat", [](auto& peer) { static_cast<void>(files_of(peer).stat("/x", brief())); }},
      {"exists", [](auto& peer) { static_cast<void>(files_of(peer).exists("/x", brief())); }},
      {"make directory", [](auto& peer) { files_of(peer).make_directory("/x", brief()); }},
  });
}

TEST_CASE("a hostile Hub: every call ends in a result or an hf::error") {
  auto const api = hub_of();
  auto const limits = [] {
    hf::hub::call_limits out;
    out.deadline = soon();
    return out;
  };
  hf::hub::stream_patience const patience{.quiet = std::chrono::milliseconds(20),
                                          .look = std::chrono::milliseconds(20)};
  try_all({
      {"who am I", [&](auto& peer) { static_cast<void>(api.who_am_i(peer, limits())); }},
      {"inspect", [&](auto& peer) { static_cast<void>(api.inspect(peer, "n", "j", limits())); }},
      {"list", [&](auto& peer) { static_cast<void>(api.list(peer, "n", {}, {}, limits())); }},
      {"cancel", [&](auto& peer) { api.cancel(peer, "n", "j", limits()); }},
      {"hardware", [&](auto& peer) { static_cast<void>(api.list_hardware(peer, limits())); }},
      {"log",
       [&](auto& peer) {
         static_cast<void>(hf::hub::log_tail(api, peer, "n", "j", 20, limits(), patience));
       }},
  });
}

TEST_CASE("a hostile Docker engine: every call ends in a result or an hf::error") {
  auto const launcher = [] {
    hf::docker_options options;
    options.host = "unix:///nowhere/docker.sock";
    options.agent = "/bin/sh";
    return hf::docker_launcher(options);
  };
  auto const engine_calls = [&](hostile_peer& peer, auto&& call) {
    // What every answer needs to be taken for an engine's.
    peer.at->how.fields.set("Api-Version", "1.41");
    call();
  };
  try_all({
      {"inspect",
       [&](auto& peer) {
         engine_calls(peer, [&] { static_cast<void>(launcher().inspect(peer, "c")); });
       }},
      {"logs",
       [&](auto& peer) {
         engine_calls(peer, [&] { static_cast<void>(launcher().logs(peer, "c")); });
       }},
      {"pull",
       [&](auto& peer) {
         engine_calls(peer, [&] {
           hf::detail::docker::engine<> engine(hf::detail::docker::parse_engine_address(
               "unix:///nowhere/docker.sock", false, "a test"));
           hf::detail::docker::pull_image(engine, peer, "img", [](std::string const&) {}, {});
         });
       }},
  });
}
