#include <hf/sandbox/agent/exec.hpp>
#include <hf/sandbox/agent/spawn.hpp>
#include <hf/sandbox/files.hpp>
#include <hf/sandbox/process.hpp>
#include <hf/sandbox/wire/routes.hpp>

#include <catch2/catch_message.hpp>
#include <catch2/catch_test_macros.hpp>

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using hf::errc;

/// An agent as a list of answers; remembers what it was asked.
struct script {
  struct step {
    std::function<void(hf::http::request const&, hf::http::response_sink&)> play;
  };
  std::deque<step> steps;
  std::vector<hf::http::request> asked;
};

struct fake_transport {
  script* plan;
  void send(hf::http::request const& rq, hf::http::response_sink& sink) {
    plan->asked.push_back(rq);
    if (plan->steps.empty())
      throw hf::error(errc::internal, "unexpected request " + rq.method + " " + rq.url);
    auto const step = plan->steps.front();
    plan->steps.pop_front();
    step.play(rq, sink);
  }
};

hf::error lost(bool reached) {
  return hf::error(errc::connection_lost, "reset by peer", {.may_have_reached_peer = reached});
}

/// Answers with a status and a body, then breaks off when `broken`.
script::step answer(int status, std::string body, std::string instance, bool broken = false,
                    hf::http::headers fields = {}) {
  return {[=](hf::http::request const&, hf::http::response_sink& sink) {
    hf::http::response_head head;
    head.status = status;
    head.fields = fields;
    if (!instance.empty())
      head.fields.add(std::string(hf::wire::instance_header), instance);
    if (sink.on_head(head) == hf::http::flow::stop)
      return;
    if (sink.on_data(std::as_bytes(std::span(body.data(), body.size()))) == hf::http::flow::stop)
      return;
    if (broken)
      throw lost(true);
  }};
}

script::step fail(bool reached) {
  return {[=](hf::http::request const&, hf::http::response_sink&) { throw lost(reached); }};
}

std::string const start = "{\"event\":\"start\",\"id\":\"p-1\",\"pid\":5}\n";
std::string out(int seq, std::string const& text) {
  return "{\"data\":\"" + text + "\",\"event\":\"stdout\",\"seq\":" + std::to_string(seq) + "}\n";
}
std::string exited(int seq) {
  return "{\"duration_ms\":1,\"event\":\"exit\",\"exit_code\":0,\"seq\":" + std::to_string(seq) +
         ",\"signal\":null,\"timed_out\":false}\n";
}

struct fixture {
  script plan;
  fake_transport transport{&plan};
  hf::agent_client<fake_transport> agent{
      transport, hf::endpoint{.url = "http://localhost", .headers = {{"X-Sandbox-Token", "t"}}}};
  std::function<bool()> machine_ended;
  hf::exec_options options;
  hf::spawn_options spawning;
  hf::follow_options following;

  hf::run_result exec() { return hf::detail::exec(agent, {"true"}, options, machine_ended); }
  void learn_instance(std::string const& id) {
    plan.steps.push_back(answer(200, "{\"features\":{},\"version\":\"1\"}", id));
    static_cast<void>(agent.features());
    plan.asked.clear();
  }
};

errc kind_of(std::function<void()> const& call) {
  try {
    call();
  } catch (hf::error const& e) {
    return e.kind();
  }
  return errc{};
}

/// What a call threw that may be gone on with.
hf::run_interrupted interruption_of(std::function<void()> const& call) {
  try {
    call();
  } catch (hf::run_interrupted const& e) {
    return e;
  }
  FAIL("not interrupted");
  throw std::logic_error("unreachable");
}

std::string const common_start = "{\"event\":\"start\",\"pid\":5}\n";
std::string const common_exit =
    "{\"duration_ms\":1,\"event\":\"exit\",\"exit_code\":3,\"signal\":null,\"timed_out\":false}\n";
std::string const no_such_route = "{\"error\":\"no route\"}";

}  // namespace

TEST_CASE_METHOD(fixture, "exec goes on behind the last record after a broken connection") {
  plan.steps = {answer(200, start + out(1, "one ") + out(2, "two "), "A", true), fail(false),
                // A replay that begins too early must not be delivered twice.
                answer(200, start + out(2, "two ") + out(3, "three"), "A", true),
                answer(200, exited(4), "A")};
  std::string streamed;
  options.on_stdout = [&](std::string_view text) { streamed += text; };
  options.capture = true;
  auto const result = exec();
  CHECK(result.out == "one two three");
  CHECK(streamed == "one two three");
  CHECK(result.ok());
  REQUIRE(plan.asked.size() == 4);
  CHECK(plan.asked[0].method == "POST");
  CHECK(plan.asked[1].url.ends_with("/v1/processes/p-1/events?after=2&follow=1"));
  CHECK(plan.asked[3].url.ends_with("/v1/processes/p-1/events?after=3&follow=1"));
  CHECK(plan.asked[1].fields.get(hf::wire::instance_header) == "A");
}

TEST_CASE_METHOD(fixture, "exec is sent again freely when no byte can have arrived") {
  plan.steps = {fail(false), fail(false), answer(200, start + exited(1), "A")};
  CHECK(exec().ok());
  CHECK(plan.asked.size() == 3);
  CHECK(plan.asked[2].fields.get(hf::wire::instance_header).empty());
}

TEST_CASE_METHOD(fixture, "exec is sent again to the same agent only, when it may have arrived") {
  learn_instance("A");
  plan.steps = {fail(true), answer(200, start + out(1, "x") + exited(2), "A")};
  CHECK(exec().out == "x");
  REQUIRE(plan.asked.size() == 2);
  CHECK(plan.asked[1].fields.get(hf::wire::instance_header) == "A");
  CHECK(plan.asked[0].body.text() == plan.asked[1].body.text());
}

TEST_CASE_METHOD(fixture, "exec on an agent that was restarted is op_unknown, never a result") {
  learn_instance("A");
  plan.steps = {fail(true),
                answer(409, "{\"code\":\"op_unknown\",\"error\":\"another instance\"}", "B")};
  CHECK(kind_of([&] { exec(); }) == errc::op_unknown);

  plan.steps = {answer(200, start + out(1, "x"), "B", true), answer(200, exited(2), "C")};
  CHECK(kind_of([&] { exec(); }) == errc::op_unknown);
  plan.steps = {answer(200, start, "C", true), answer(404, "{\"error\":\"no process\"}", "C")};
  CHECK(kind_of([&] { exec(); }) == errc::op_unknown);
}

TEST_CASE_METHOD(fixture, "exec never runs twice on an agent without operation ids") {
  plan.steps = {fail(true), answer(404, "{\"error\":\"no route: GET /v1/ops/x\"}", "")};
  CHECK(kind_of([&] { exec(); }) == errc::outcome_unknown);
  CHECK(plan.asked.size() == 2);
  CHECK(plan.asked[1].method == "GET");

  plan.asked.clear();
  plan.steps = {answer(
      200, "{\"event\":\"start\",\"pid\":5}\n{\"data\":\"x\",\"event\":\"stdout\"}\n", "", true)};
  try {
    exec();
    FAIL("no error");
  } catch (hf::run_interrupted const& e) {
    CHECK(e.kind() == errc::connection_lost);
    CHECK(e.out() == "x");
  }
  CHECK(plan.asked.size() == 1);
}

TEST_CASE_METHOD(fixture, "exec without an exit event is never a result") {
  plan.steps = {answer(200, "{\"event\":\"start\",\"pid\":5}\n", "")};
  CHECK(kind_of([&] { exec(); }) == errc::connection_lost);
}

TEST_CASE_METHOD(fixture, "output that is no longer kept is said to be gone") {
  plan.steps = {answer(200, start + out(1, "x"), "A", true),
                answer(410, "{\"code\":\"output_gone\",\"error\":\"gone\",\"first_seq\":9}", "A")};
  try {
    exec();
    FAIL("no error");
  } catch (hf::run_interrupted const& e) {
    CHECK(e.kind() == errc::output_gone);
    CHECK(e.out() == "x");
    CHECK(e.handle().process_id == "p-1");
    // Going on with the handle takes what is still kept.
    CHECK(e.handle().last_seq == 8);
    plan.steps = {answer(200, out(9, "y") + exited(10), "A")};
    CHECK(hf::detail::attach(agent, e.handle(), following, machine_ended).out == "y");
  }
}

TEST_CASE_METHOD(fixture, "the reconnect budget ends with the handle to go on with") {
  options.reconnect_budget = std::chrono::milliseconds(200);
  plan.steps = {answer(200, start + out(1, "x"), "A", true)};
  for (int i = 0; i < 100; ++i)
    plan.steps.push_back(fail(false));
  try {
    exec();
    FAIL("no error");
  } catch (hf::run_interrupted const& e) {
    CHECK(e.kind() == errc::connection_lost);
    CHECK(e.handle().agent_instance == "A");
    CHECK(e.handle().last_seq == 1);
  }

  plan.steps = {answer(200, out(2, "y") + exited(3), "A")};
  hf::run_handle handle{.process_id = "p-1", .agent_instance = "A", .last_seq = 1};
  CHECK(hf::detail::attach(agent, handle, following, machine_ended).out == "y");
}

TEST_CASE_METHOD(fixture, "a machine that has ended is not tried again") {
  machine_ended = [] { return true; };
  plan.steps = {fail(false)};
  CHECK(kind_of([&] { exec(); }) == errc::sandbox_expired);
  plan.steps = {answer(200, start, "A", true)};
  auto const why = interruption_of([&] { exec(); });
  CHECK(why.kind() == errc::sandbox_expired);
  // There is nothing that could be resumed.
  CHECK(why.retry() == hf::retry_advice::no);
}

TEST_CASE_METHOD(fixture, "after the machine was ended nothing is sent") {
  agent.machine_was_ended();
  CHECK(kind_of([&] { exec(); }) == errc::sandbox_expired);
  CHECK(kind_of([&] { hf::detail::spawn(agent, {"true"}, spawning); }) == errc::sandbox_expired);
  CHECK(kind_of([&] { hf::detail::list_processes(agent, {}); }) == errc::sandbox_expired);
  CHECK(plan.asked.empty());
}

TEST_CASE_METHOD(fixture, "whatever a gateway says, a machine that has ended is sandbox_expired") {
  machine_ended = [] { return true; };
  agent.on_unreachable(machine_ended);
  for (int const status : {302, 401, 403, 404, 410, 502, 503, 504}) {
    INFO(status);
    plan.steps = {answer(status, "<html>gone</html>", "")};
    CHECK(kind_of([&] { exec(); }) == errc::sandbox_expired);
    plan.steps = {answer(status, "<html>gone</html>", "")};
    CHECK(kind_of([&] { hf::detail::spawn(agent, {"true"}, spawning); }) == errc::sandbox_expired);
    plan.steps = {answer(status, "<html>gone</html>", "")};
    CHECK(kind_of([&] { hf::detail::list_processes(agent, {}); }) == errc::sandbox_expired);
  }
  // Also behind a command that was running, and where the way answers 200 with a page of its own.
  plan.steps = {answer(200, start, "A", true)};
  CHECK(kind_of([&] { exec(); }) == errc::sandbox_expired);
  plan.steps = {answer(200, "<html>sign in</html>", "")};
  CHECK(kind_of([&] { hf::detail::list_processes(agent, {}); }) == errc::sandbox_expired);
}

TEST_CASE_METHOD(fixture, "a gateway's 404 is not about what was asked for") {
  learn_instance("A");
  machine_ended = [] { return false; };
  agent.on_unreachable(machine_ended);
  auto const files = std::make_shared<hf::agent_client<fake_transport>>(
      transport, hf::endpoint{.url = "http://localhost"}, hf::agent_health{.instance = "A"});
  std::string const entry = "{\"name\":\"x\",\"path\":\"/x\",\"type\":\"file\"}";
  // One that was let in between does no harm.
  plan.steps = {answer(404, "not here", ""), answer(200, entry, "A")};
  CHECK(hf::basic_files<fake_transport>(files).exists("/x"));
  plan.steps = {answer(404, "{\"error\":\"no such job\"}", ""), answer(200, entry, "A")};
  CHECK(hf::basic_files<fake_transport>(files).exists("/x"));
  // One that stays says that the agent was not reached.
  plan.steps = std::deque<script::step>(6, answer(404, "not here", ""));
  CHECK(kind_of([&] {
          hf::basic_files<fake_transport>(files).stat(
              "/x", {.deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(1)});
        }) == errc::connect_failed);
  plan.steps = {answer(404, "{\"code\":\"not_found\",\"error\":\"no\"}", "A")};
  CHECK_FALSE(hf::basic_files<fake_transport>(files).exists("/x"));
}

TEST_CASE_METHOD(fixture, "attachments that bring nothing use up the reconnect budget") {
  options.reconnect_budget = std::chrono::milliseconds(300);
  plan.steps = {answer(200, start + out(1, "x"), "A", true)};
  for (int i = 0; i < 1000; ++i)
    plan.steps.push_back(answer(200, "", "A", i % 2 == 0));
  auto const why = interruption_of([&] { exec(); });
  CHECK(why.kind() == errc::connection_lost);
  CHECK(why.handle().last_seq == 1);
  // With pauses that grow, not as fast as the agent answers.
  CHECK(plan.asked.size() < 20);
}

TEST_CASE_METHOD(fixture, "a callback's exception kills the command and passes unchanged") {
  options.on_stdout = [](std::string_view) { throw std::runtime_error("enough"); };
  plan.steps = {answer(200, start + out(1, "x") + out(2, "y"), "A"),
                answer(200, "{\"signalled\":1}", "A")};
  CHECK_THROWS_AS(exec(), std::runtime_error);
  REQUIRE(plan.asked.size() == 2);
  CHECK(plan.asked[1].url.ends_with("/v1/processes/p-1/signal"));
}

TEST_CASE_METHOD(fixture, "a full capture truncates, and kills only on request") {
  options.capture_limit = 3;
  plan.steps = {answer(200, start + out(1, "abcd") + out(2, "e") + exited(3), "A")};
  auto const result = exec();
  CHECK(result.out == "abc");
  CHECK(result.truncated);
  CHECK(result.ok());
  CHECK(plan.asked.size() == 1);

  options.overflow = hf::capture_overflow::fail;
  plan.steps = {answer(200, start + out(1, "abcd"), "A"), answer(200, "{}", "A")};
  try {
    exec();
    FAIL("no error");
  } catch (hf::command_error const& e) {
    CHECK(e.kind() == errc::output_limit);
    CHECK(e.result().out == "abc");
    CHECK(std::string(e.what()).find("'" + e.result().command_line + "'") != std::string::npos);
    CHECK_FALSE(e.result().command_line.empty());
  }
  CHECK(plan.asked.back().url.ends_with("/v1/processes/p-1/signal"));
}

TEST_CASE_METHOD(fixture, "a stream with a callback is captured only on request") {
  auto const err_line = [](int seq) {
    return "{\"data\":\"e\",\"event\":\"stderr\",\"seq\":" + std::to_string(seq) + "}\n";
  };
  auto const run = [&] {
    plan.steps = {answer(200, start + out(1, "abcd") + err_line(2) + exited(3), "A")};
    return exec();
  };
  std::string streamed;
  options.on_stdout = [&](std::string_view text) { streamed += text; };
  options.capture_limit = 1;
  auto result = run();
  CHECK(streamed == "abcd");
  CHECK(result.out.empty());
  CHECK(result.err == "e");
  CHECK_FALSE(result.truncated);
  CHECK(result.last_seq == 3);

  options.capture = true;
  result = run();
  CHECK(result.out == "a");
  CHECK(result.truncated);
  CHECK(streamed == "abcdabcd");

  options.capture = false;
  CHECK(run().err.empty());
}

TEST_CASE_METHOD(fixture, "following a run never kills it unless asked to") {
  hf::run_handle const handle{.process_id = "p-1", .agent_instance = "A"};
  auto const follow = [&] { return hf::detail::attach(agent, handle, following, machine_ended); };
  auto const text = [] { return answer(200, out(1, "abcd") + exited(2), "A"); };
  following.capture_limit = 3;
  plan.steps = {text()};
  auto const result = follow();
  CHECK(result.out == "abc");
  CHECK(result.truncated);
  CHECK(plan.asked.size() == 1);

  following.on_stdout = [](std::string_view) { throw std::runtime_error("enough"); };
  plan.steps = {text()};
  CHECK_THROWS_AS(follow(), std::runtime_error);
  CHECK(plan.asked.size() == 2);

  following.when_stopped = hf::on_stop::kill;
  plan.steps = {text(), answer(200, "{}", "A")};
  CHECK_THROWS_AS(follow(), std::runtime_error);
  REQUIRE(plan.asked.size() == 4);
  CHECK(plan.asked.back().url.ends_with("/v1/processes/p-1/signal"));
}

// No option is taken that the call would ignore.
template <class Options>
constexpr bool takes_callbacks = requires(Options o) { o.on_stdout; };
template <class Options>
constexpr bool takes_open_input = requires(Options o) { o.open_input; };
template <class Options>
constexpr bool takes_tag = requires(Options o) { o.tag; };
template <class Options>
constexpr bool takes_linger = requires(Options o) { o.linger; };
template <class Options>
constexpr bool takes_command = requires(Options o) { o.cwd; };
static_assert(takes_callbacks<hf::exec_options> && takes_callbacks<hf::follow_options>);
static_assert(!takes_callbacks<hf::spawn_options> && !takes_linger<hf::spawn_options>);
static_assert(!takes_open_input<hf::exec_options> && !takes_tag<hf::exec_options>);
static_assert(!takes_command<hf::follow_options> && !takes_linger<hf::follow_options>);

TEST_CASE_METHOD(fixture, "a refusal of the agent is a typed error at once") {
  plan.steps = {answer(400,
                       "{\"code\":\"exec_failed\",\"errno\":2,\"error\":\"failed to spawn 'x'\","
                       "\"stage\":\"exec\"}",
                       "A")};
  try {
    exec();
    FAIL("no error");
  } catch (hf::error const& e) {
    CHECK(e.kind() == errc::exec_failed);
    CHECK(e.details().stage == "exec");
    CHECK(e.details().system_error == 2);
  }
  // What only the caller's side knows is added.
  auto const text = [&](hf::command const& what, hf::exec_options const& with, char const* stage) {
    plan.steps = {answer(400,
                         std::string("{\"code\":\"exec_failed\",\"errno\":2,\"error\":\"failed to "
                                     "spawn\",\"stage\":\"") +
                             stage + "\"}",
                         "A")};
    try {
      hf::detail::exec(agent, what, with, machine_ended);
    } catch (hf::error const& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  CHECK(text({"true"}, {.cwd = "/no/where"}, "chdir").find("'/no/where'") != std::string::npos);
  CHECK(text({"ls -l"}, {}, "exec").find("hf::shell") != std::string::npos);
  CHECK(text({"ls", "-l"}, {}, "exec").find("hf::shell") == std::string::npos);
}

TEST_CASE_METHOD(fixture, "agents of the common protocol send no code") {
  plan.steps = {answer(400, "{\"error\":\"failed to spawn 'x': No such file\"}", "")};
  CHECK(kind_of([&] { exec(); }) == errc::exec_failed);
  plan.steps = {answer(403, "{\"error\":\"invalid or missing X-Sandbox-Token\"}", "")};
  CHECK(kind_of([&] { exec(); }) == errc::permission_denied);
}

TEST_CASE_METHOD(fixture, "bad input is refused before anything is sent") {
  auto const refused = [&](hf::command const& what, hf::exec_options const& with = {}) {
    return kind_of([&] { hf::detail::exec(agent, what, with, machine_ended); }) ==
           errc::invalid_argument;
  };
  CHECK(refused(std::vector<std::string>{}));
  CHECK(refused({""}));
  CHECK(refused(hf::shell("")));
  CHECK(refused({"a", std::string("b\0c", 3)}));
  CHECK(refused({"a", "\xff"}));
  CHECK(refused({"a"}, {.cwd = std::string("\0", 1)}));
  CHECK(refused({"a"}, {.env = {{"A=B", "c"}}}));
  CHECK(refused({"a"}, {.env = {{"", "c"}}}));
  CHECK(refused({"a"}, {.timeout = std::chrono::milliseconds(0)}));
  CHECK(refused({"a"}, {.operation_id = "xyz"}));
  CHECK(plan.asked.empty());
}

TEST_CASE_METHOD(fixture, "U+FFFD from an agent of the common protocol marks the result lossy") {
  plan.steps = {answer(200,
                       "{\"event\":\"start\",\"pid\":5}\n"
                       "{\"data\":\"a\xef\xbf\xbd\",\"event\":\"stdout\"}\n"
                       "{\"duration_ms\":1,\"event\":\"exit\",\"exit_code\":0,\"signal\":null,"
                       "\"timed_out\":false}\n",
                       "")};
  CHECK(exec().lossy);
  plan.steps = {answer(200, start + out(1, "a\xef\xbf\xbd") + exited(2), "A")};
  CHECK_FALSE(exec().lossy);
}

TEST_CASE_METHOD(fixture, "a required feature that the agent lacks is unsupported") {
  options.require = {"pty"};
  plan.steps = {answer(404, "{\"error\":\"no route: GET /v1/info\"}", ""),
                answer(200, "{\"protocol\":3,\"status\":\"ok\",\"version\":\"0.7.0\"}", "")};
  CHECK(kind_of([&] { exec(); }) == errc::unsupported);
  CHECK(plan.asked.size() == 2);
  // Learnt once.
  CHECK(kind_of([&] { exec(); }) == errc::unsupported);
  CHECK(plan.asked.size() == 2);
  CHECK(agent.features().version == "0.7.0");
}

TEST_CASE_METHOD(fixture, "answers that say that nothing was done are followed by another try") {
  std::string const done =
      "{\"event\":\"start\",\"pid\":5}\n"
      "{\"duration_ms\":1,\"event\":\"exit\",\"exit_code\":0,\"signal\":null,"
      "\"timed_out\":false}\n";
  std::string const words = "{\"error\":\"not now\"}";
  auto const refusals = {answer(408, words, ""), answer(429, words, ""), answer(503, words, ""),
                         answer(503, "", "", false, {{"Connection", "close"}})};
  for (auto const& refusal : refusals) {
    plan.steps = {refusal, refusal, answer(200, done, "")};
    CHECK(exec().ok());
    plan.steps = {refusal, answer(200, "{\"id\":\"p-0\",\"pid\":5}", "")};
    CHECK(hf::detail::spawn(agent, {"true"}, {}).pid == 5);
    CHECK(plan.steps.empty());
  }
  // A gateway's word is none on what the agent did.
  for (int const status : {408, 502, 504}) {
    CAPTURE(status);
    plan.steps = {answer(status, "", ""), answer(404, "{\"error\":\"no route\"}", "")};
    CHECK(kind_of([&] { exec(); }) == errc::outcome_unknown);
    plan.steps = {answer(status, "", "")};
    CHECK(kind_of([&] { hf::detail::spawn(agent, {"true"}, {}); }) == errc::outcome_unknown);
  }
}

TEST_CASE_METHOD(fixture, "without operation ids a command is killed by its process group") {
  hf::stop_source stop;
  options.stop = stop.get_token();
  options.on_stdout = [&](std::string_view) { stop.request_stop(); };
  options.capture = true;
  std::string const begun =
      "{\"event\":\"start\",\"pid\":5}\n{\"data\":\"x\",\"event\":\"stdout\"}\n";
  auto const cancelled = [&](std::string body) {
    return script::step{[=](hf::http::request const&, hf::http::response_sink& sink) {
      hf::http::response_head head;
      head.status = 200;
      sink.on_head(head);
      sink.on_data(std::as_bytes(std::span(body.data(), body.size())));
      throw hf::error(errc::cancelled, "cancelled", {.may_have_reached_peer = true});
    }};
  };
  auto const no_ops = answer(404, "{\"error\":\"no route\"}", "");
  plan.steps = {cancelled(begun), no_ops, answer(200, "{\"event\":\"exit\"}\n", "")};
  auto const killed = exec();
  CHECK(killed.cancelled);
  CHECK(killed.out == "x");
  REQUIRE(plan.asked.size() == 3);
  CHECK(plan.asked[2].url.ends_with("/v1/exec"));
  CHECK(plan.asked[2].body.text() == "{\"cmd\":\"kill -9 -5\"}");

  // Where that is refused, nothing is made up.
  stop = {};
  options.stop = stop.get_token();
  plan.steps = {cancelled(begun), no_ops, answer(403, "{\"error\":\"no\"}", "")};
  try {
    exec();
    FAIL("no error");
  } catch (hf::run_interrupted const& e) {
    CHECK(e.kind() == errc::cancelled);
    CHECK(e.out() == "x");
  }
}

TEST_CASE_METHOD(fixture, "a connection that breaks behind the exit event does not matter") {
  plan.steps = {answer(200, common_start + common_exit, "", true)};
  CHECK(exec().exit_code == 3);
  plan.steps = {answer(200, start + out(1, "x") + exited(2), "A", true)};
  CHECK(exec().out == "x");
  CHECK(plan.asked.size() == 2);
}

TEST_CASE_METHOD(fixture, "an exit without code and signal is outcome_unknown, never a result") {
  for (std::string const end :
       {"{\"duration_ms\":1,\"event\":\"exit\",\"exit_code\":null,\"seq\":2,"
        "\"signal\":null,\"timed_out\":false}\n",
        "{\"event\":\"exit\",\"seq\":2}\n"}) {
    plan.asked.clear();
    plan.steps = {answer(200, start + out(1, "x") + end, "A")};
    auto const e = interruption_of([&] { exec(); });
    CHECK(e.kind() == errc::outcome_unknown);
    CHECK(e.out() == "x");
    CHECK(plan.asked.size() == 1);
  }
}

TEST_CASE_METHOD(fixture, "a record that is missing is an error, not a shorter output") {
  plan.steps = {answer(200, start + out(1, "x") + out(3, "z") + exited(4), "A")};
  auto const e = interruption_of([&] { exec(); });
  CHECK(e.kind() == errc::protocol_error);
  CHECK(e.out() == "x");
  CHECK(e.handle().last_seq == 1);
  plan.steps = {answer(200, start + out(1, "x") + exited(3), "A")};
  CHECK(kind_of([&] { exec(); }) == errc::protocol_error);
}

TEST_CASE_METHOD(fixture, "a malformed event ends the call instead of being asked for for ever") {
  plan.steps = {answer(200, start + "{\"event\":\"stdout\",\"seq\":1}\n", "A")};
  CHECK(kind_of([&] { exec(); }) == errc::protocol_error);
  CHECK(plan.asked.size() == 1);
}

TEST_CASE_METHOD(fixture, "what may have arrived is never said not to have run") {
  learn_instance("A");
  options.reconnect_budget = std::chrono::milliseconds(100);
  plan.steps = {fail(true)};
  for (int i = 0; i < 100; ++i)
    plan.steps.push_back(fail(false));
  auto const e = interruption_of([&] { exec(); });
  CHECK(e.kind() == errc::connection_lost);
  CHECK(e.may_have_reached_peer());
  CHECK(e.handle().operation_id.size() == 32);
  CHECK(e.handle().agent_instance == "A");
}

TEST_CASE_METHOD(fixture,
                 "a gateway's 503 leaves open whether the command ran, the agent's does not") {
  plan.steps = {answer(503, "upstream connect error", ""), answer(404, no_such_route, "")};
  CHECK(kind_of([&] { exec(); }) == errc::outcome_unknown);
  REQUIRE(plan.asked.size() == 2);
  CHECK(plan.asked[1].method == "GET");
  plan.steps = {answer(503, "{\"error\":\"too many connections\"}", ""),
                answer(200, common_start + common_exit, "")};
  CHECK(exec().exit_code == 3);
}

TEST_CASE_METHOD(fixture, "an agent without descriptors or processes is not asked for a minute") {
  auto const refuse = [&](int times) {
    plan.steps.clear();
    plan.asked.clear();
    for (int i = 0; i < times; ++i)
      plan.steps.push_back(answer(
          503, R"({"code":"resource_exhausted","error":"x","errno":24,"stage":"fork"})", "A"));
  };
  refuse(20);
  CHECK(kind_of([&] { exec(); }) == errc::resource_exhausted);
  CHECK(plan.asked.size() < 10);
  refuse(20);
  CHECK(kind_of([&] { hf::detail::spawn(agent, {"true"}, spawning); }) == errc::resource_exhausted);
  CHECK(plan.asked.size() < 10);
  // One that has some again a moment later is not given up.
  refuse(2);
  plan.steps.push_back(answer(200, common_start + common_exit, "A"));
  CHECK(exec().exit_code == 3);
}

TEST_CASE_METHOD(fixture, "Retry-After is not waited for beyond the deadline") {
  options.deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  plan.steps = {answer(503, "{\"error\":\"busy\"}", "A", false, {{"Retry-After", "50"}})};
  CHECK(kind_of([&] { exec(); }) == errc::request_timed_out);
  plan.steps = {answer(503, "{\"error\":\"busy\"}", "A", false, {{"Retry-After", "50"}})};
  hf::call_options const call{.deadline = options.deadline};
  CHECK(kind_of([&] { hf::detail::list_processes(agent, call); }) == errc::server_error);
  CHECK(std::chrono::steady_clock::now() < *options.deadline);
}

TEST_CASE_METHOD(fixture, "what no time can cure is said at once") {
  plan.steps = {{[](hf::http::request const&, hf::http::response_sink&) {
    throw hf::error(errc::invalid_argument, "no such scheme");
  }}};
  CHECK(kind_of([&] { exec(); }) == errc::invalid_argument);
  plan.steps = {answer(302, "<html>", "")};
  CHECK(kind_of([&] { exec(); }) == errc::connect_failed);
  CHECK(plan.asked.size() == 2);
}

TEST_CASE_METHOD(fixture, "a run is resumed by its operation id, over broken connections too") {
  hf::run_handle const handle{.operation_id = std::string(32, 'a')};
  auto const resume = [&] { return hf::detail::attach(agent, handle, following, machine_ended); };
  plan.steps = {fail(false), fail(true),
                answer(200, "{\"id\":\"p-4\",\"pid\":5,\"state\":\"running\"}", "A"), fail(true),
                answer(200, out(1, "x") + exited(2), "A")};
  CHECK(resume().out == "x");
  REQUIRE(plan.asked.size() == 5);
  CHECK(plan.asked[2].url.ends_with("/v1/ops/" + handle.operation_id));
  CHECK(plan.asked[4].url.ends_with("/v1/processes/p-4/events?after=0&follow=1"));
  plan.steps = {answer(404, "{\"code\":\"op_unknown\",\"error\":\"no such operation\"}", "A")};
  CHECK(kind_of(resume) == errc::op_unknown);
  following.reconnect_budget = std::chrono::milliseconds(0);
  plan.steps.assign(6, fail(false));
  CHECK(kind_of(resume) == errc::connection_lost);
  CHECK(kind_of([&] { hf::detail::attach(agent, {}, following, machine_ended); }) ==
        errc::invalid_argument);
}

TEST_CASE_METHOD(fixture, "a stop request kills, at the agent that runs the command") {
  hf::stop_source stop;
  options.stop = stop.get_token();
  options.on_stdout = [&](std::string_view) { stop.request_stop(); };
  options.capture = true;
  auto const stopped = [&](std::string begin, std::string const& instance) -> script::step {
    return {[=, &stop](hf::http::request const& rq, hf::http::response_sink& sink) {
      answer(200, begin, instance).play(rq, sink);
      stop.request_stop();
      throw hf::error(errc::cancelled, "stopped", {.may_have_reached_peer = true});
    }};
  };
  plan.steps = {stopped(start + out(1, "x"), "A"), answer(200, "{\"signalled\":1}", "A"),
                answer(200, out(2, "y") + exited(3), "A")};
  auto const result = exec();
  CHECK(result.cancelled);
  CHECK(result.out == "xy");
  REQUIRE(plan.asked.size() == 3);
  CHECK(plan.asked[1].url.ends_with("/v1/processes/p-1/signal"));
  CHECK(plan.asked[1].fields.get(hf::wire::instance_header) == "A");
}

TEST_CASE_METHOD(fixture, "a command that cannot be killed is not said to have been") {
  hf::stop_source stop;
  options.stop = stop.get_token();
  auto const stopped = [&](bool reached) -> script::step {
    return {[=, &stop](hf::http::request const&, hf::http::response_sink&) {
      stop.request_stop();
      throw hf::error(errc::cancelled, "stopped", {.may_have_reached_peer = reached});
    }};
  };
  plan.steps = {stopped(true), answer(404, no_such_route, "")};
  CHECK(interruption_of([&] { exec(); }).kind() == errc::cancelled);
  CHECK(plan.steps.empty());

  // When nothing was sent there is nothing to kill.
  stop = {};
  options.stop = stop.get_token();
  plan.steps = {stopped(false)};
  CHECK(exec().cancelled);
  CHECK(plan.steps.empty());
}

TEST_CASE_METHOD(fixture, "spawn is sent again to the same agent only, when it may have arrived") {
  auto const spawn = [&] { return hf::detail::spawn(agent, {"true"}, spawning); };
  std::string const spawned = "{\"id\":\"p-2\",\"pid\":7,\"tag\":null}";
  learn_instance("A");
  plan.steps = {fail(false), fail(true), fail(true), answer(200, spawned, "A")};
  CHECK(spawn().handle.process_id == "p-2");
  REQUIRE(plan.asked.size() == 4);
  CHECK(plan.asked[1].fields.get(hf::wire::instance_header).empty());
  CHECK(plan.asked[2].fields.get(hf::wire::instance_header) == "A");
  CHECK(plan.asked[3].fields.get(hf::wire::instance_header) == "A");
  CHECK(plan.asked[0].body.text() == plan.asked[3].body.text());

  spawning.reconnect_budget = std::chrono::milliseconds(100);
  plan.steps = {fail(true)};
  for (int i = 0; i < 100; ++i)
    plan.steps.push_back(fail(false));
  auto const e = interruption_of([&] { spawn(); });
  CHECK(e.kind() == errc::connection_lost);
  CHECK(e.handle().agent_instance == "A");
}

TEST_CASE_METHOD(fixture, "spawn never starts two processes on an agent without operation ids") {
  auto const spawn = [&] { return hf::detail::spawn(agent, {"true"}, spawning); };
  plan.steps = {fail(false), fail(true)};
  auto const e = interruption_of([&] { spawn(); });
  CHECK(e.kind() == errc::outcome_unknown);
  CHECK(plan.asked.size() == 2);
  plan.steps = {answer(504, "gateway timeout", "")};
  CHECK(kind_of([&] { spawn(); }) == errc::outcome_unknown);
  plan.steps = {answer(400, "{\"error\":\"failed to spawn 'x': No such file\"}", "")};
  CHECK(kind_of([&] { spawn(); }) == errc::exec_failed);
}

TEST_CASE_METHOD(fixture, "calls with side effects that a gateway breaks off are outcome_unknown") {
  auto const rq = agent.make_request("POST", "/v1/processes/p-1/signal");
  plan.steps = {answer(502, "<html>bad gateway</html>", "")};
  CHECK(kind_of([&] { agent.call_once("signal", rq); }) == errc::outcome_unknown);
  plan.steps = {fail(true)};
  CHECK(kind_of([&] { agent.call_once("signal", rq); }) == errc::outcome_unknown);
  plan.steps = {answer(500, "{\"error\":\"broken\"}", "")};
  CHECK(kind_of([&] { agent.call_once("signal", rq); }) == errc::server_error);
}

TEST_CASE_METHOD(fixture, "calls that can do no harm are repeated once after silence") {
  script::step const silence{[](hf::http::request const&, hf::http::response_sink&) {
    throw hf::error(errc::request_timed_out, "silence", {.may_have_reached_peer = true});
  }};
  plan.steps = {silence, answer(200, "[]", "A")};
  CHECK(hf::detail::list_processes(agent, {}).empty());
  plan.steps = {silence, silence, answer(200, "[]", "A")};
  CHECK(kind_of([&] { hf::detail::list_processes(agent, {}); }) == errc::request_timed_out);
}

TEST_CASE_METHOD(fixture, "a process handle means one agent's process") {
  learn_instance("A");
  auto const shared =
      std::shared_ptr<hf::agent_client<fake_transport>>(std::shared_ptr<void>(), &agent);
  hf::basic_process<fake_transport> process(shared, {},
                                            {.process_id = "p-1", .agent_instance = "A"}, 5);
  plan.steps = {answer(409, "{\"code\":\"op_unknown\",\"error\":\"another\"}", "B")};
  CHECK(kind_of([&] { process.kill(); }) == errc::op_unknown);
  REQUIRE(plan.asked.size() == 1);
  CHECK(plan.asked[0].fields.get(hf::wire::instance_header) == "A");
}

TEST_CASE_METHOD(fixture, "a process of an agent without instances is known by its pid too") {
  auto const shared =
      std::shared_ptr<hf::agent_client<fake_transport>>(std::shared_ptr<void>(), &agent);
  hf::basic_process<fake_transport> process(shared, {}, {.process_id = "p-1"}, 5);
  plan.steps = {answer(404, no_such_route, ""), answer(200, "{\"status\":\"ok\"}", ""),
                answer(200, "[{\"id\":\"p-1\",\"pid\":5,\"running\":false,\"exit_code\":4}]", "")};
  CHECK(process.wait().exit_code == 4);
  plan.steps = {answer(200, "[{\"id\":\"p-1\",\"pid\":6,\"running\":false,\"exit_code\":4}]", "")};
  CHECK(kind_of([&] { process.wait(); }) == errc::not_found);
}

TEST_CASE_METHOD(fixture, "waiting for a process whose end nobody knows is outcome_unknown") {
  plan.steps.push_back(answer(200, "{\"features\":{\"wait\":true},\"version\":\"1\"}", "A"));
  auto const shared =
      std::shared_ptr<hf::agent_client<fake_transport>>(std::shared_ptr<void>(), &agent);
  hf::basic_process<fake_transport> process(shared, {}, {.process_id = "p-1"}, 5);
  plan.steps.push_back(
      answer(200, "{\"exit\":{\"exit_code\":null,\"signal\":null},\"state\":\"exited\"}", "A"));
  CHECK(kind_of([&] { process.wait(); }) == errc::outcome_unknown);
}

TEST_CASE_METHOD(fixture, "the output so far is read on behind a broken connection") {
  plan.steps.push_back(answer(200, "{\"features\":{\"events\":true},\"version\":\"1\"}", "A"));
  auto const shared =
      std::shared_ptr<hf::agent_client<fake_transport>>(std::shared_ptr<void>(), &agent);
  hf::basic_process<fake_transport> process(shared, {}, {.process_id = "p-1"}, 5);
  plan.steps.push_back(answer(200, out(1, "x"), "A", true));
  plan.steps.push_back(answer(200, out(2, "y"), "A"));
  CHECK(process.output().out == "xy");
  CHECK(plan.asked[2].url.ends_with("/v1/processes/p-1/events?after=1"));
}
