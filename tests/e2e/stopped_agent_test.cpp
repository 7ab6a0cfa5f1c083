#include "support/agent_endpoint.hpp"
#include "support/sandbox_types.hpp"

#include <hf/sandbox/agent/exec.hpp>
#include <hf/sandbox/agent/spawn.hpp>
#include <hf/sandbox/files.hpp>
#include <hf/sandbox/process.hpp>

#include <catch2/catch_message.hpp>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <signal.h>

#include <chrono>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using namespace hf::testing_support;
using hf::errc;

TEST_CASE("a stopped agent completes afterwards what it had begun") {
  agent_process agent;
  hf::curl_transport transport;
  hf::agent_client<hf::curl_transport> client(transport, endpoint_of(agent));
  hf::exec_options options;
  hf::run_handle handle;
  options.deadline = std::chrono::steady_clock::now() + 1500ms;
  options.on_stdout = [&](std::string_view) { agent.signal(SIGSTOP); };
  try {
    hf::detail::exec(client, hf::shell("echo one; sleep 0.2; echo two; exit 4"), options, {});
    FAIL("the stopped agent answered");
  } catch (hf::run_interrupted const& e) {
    CHECK(e.kind() == errc::request_timed_out);
    handle = e.handle();
  }
  agent.signal(SIGCONT);
  auto const result = hf::detail::attach(client, handle, {}, {});
  CHECK(result.out == "two\n");
  CHECK(result.exit_code == 4);
}

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::chrono::milliseconds soon{4000};  // all calls have to be on their way by then
#else
constexpr std::chrono::milliseconds soon{500};
#endif

using limited_call = std::function<void(hf::call_options const&)>;

/// Every call to an agent that blocks, by name.
template <class Transport>
std::map<std::string, limited_call> blocking_calls(hf::agent_client<Transport>& client,
                                                   hf::agent_client<Transport>& unasked,
                                                   hf::basic_process<Transport> process,
                                                   std::string directory) {
  auto const shared =
      std::shared_ptr<hf::agent_client<Transport>>(std::shared_ptr<void>(), &client);
  auto const exec_options_of = [](hf::call_options const& call) {
    hf::exec_options options;
    options.deadline = call.deadline;
    options.stop = call.stop;
    return options;
  };
  auto const spawn_options_of = [](hf::call_options const& call) {
    return hf::spawn_options{.stop = call.stop, .deadline = call.deadline};
  };
  auto const follow_options_of = [](hf::call_options const& call) {
    return hf::follow_options{.stop = call.stop, .deadline = call.deadline};
  };
  auto const transfer_of = [](hf::call_options const& call) {
    hf::transfer_options options;
    options.deadline = call.deadline;
    options.stop = call.stop;
    return options;
  };
  auto const files = [shared] { return hf::basic_files<Transport>(shared); };
  std::string const path = directory + "/nothing-here";
  std::map<std::string, limited_call> calls;
  calls["exec"] = [=, &client](hf::call_options const& call) {
    hf::detail::exec(client, {"true"}, exec_options_of(call), {});
  };
  calls["exec with a feature asked for first"] = [=, &unasked](hf::call_options const& call) {
    auto options = exec_options_of(call);
    options.merge_stderr = true;
    hf::detail::exec(unasked, {"true"}, options, {});
  };
  calls["spawn"] = [=, &client](hf::call_options const& call) {
    hf::detail::spawn(client, {"true"}, spawn_options_of(call));
  };
  calls["resume by id"] = [=, &client](hf::call_options const& call) {
    hf::detail::attach(client, process.handle(), follow_options_of(call), {});
  };
  calls["resume by operation"] = [=, &client](hf::call_options const& call) {
    auto handle = process.handle();
    handle.process_id.clear();
    hf::detail::attach(client, handle, follow_options_of(call), {});
  };
  calls["processes"] = [&client](hf::call_options const& call) {
    hf::detail::list_processes(client, call);
  };
  calls["info"] = [&unasked](hf::call_options const& call) { unasked.features(call); };
  calls["status"] = [process](hf::call_options const& call) mutable { process.status(call); };
  calls["wait"] = [process](hf::call_options const& call) mutable { process.wait(call); };
  calls["kill"] = [process](hf::call_options const& call) mutable { process.kill(call); };
  calls["signal"] = [process](hf::call_options const& call) mutable {
    process.signal(SIGUSR2, hf::signal_scope::process, call);
  };
  calls["follow"] = [=](hf::call_options const& call) mutable {
    process.follow(follow_options_of(call));
  };
  calls["output"] = [process](hf::call_options const& call) mutable { process.output(0, call); };
  calls["write_input"] = [process](hf::call_options const& call) mutable {
    process.write_input("x", 0, false, call);
  };
  calls["list"] = [=](hf::call_options const& call) { files().list(directory, call); };
  calls["list_page"] = [=](hf::call_options const& call) {
    files().list_page(directory, {}, 0, call);
  };
  calls["stat"] = [=](hf::call_options const& call) { files().stat(path, call); };
  calls["exists"] = [=](hf::call_options const& call) { files().exists(path, call); };
  calls["make_directory"] = [=](hf::call_options const& call) {
    files().make_directory(path + "-d", call);
  };
  calls["remove"] = [=](hf::call_options const& call) { files().remove(path, false, call); };
  calls["read"] = [=](hf::call_options const& call) {
    files().read(path, {.transfer = transfer_of(call)});
  };
  calls["write"] = [=](hf::call_options const& call) {
    files().write(path + "-w", "x", {.transfer = transfer_of(call)});
  };
  calls["parallel write"] = [=](hf::call_options const& call) {
    auto options = transfer_of(call);
    options.streams = 4;
    options.threshold = 1;
    files().write(path + "-p", std::string(1u << 20, 'x'), {.transfer = options});
  };
  calls["upload"] = [=](hf::call_options const& call) {
    files().upload("/proc/self/exe", path + "-u", {.transfer = transfer_of(call)});
  };
  calls["download"] = [=](hf::call_options const& call) {
    files().download(path, directory + "/download", transfer_of(call));
  };
  return calls;
}

/// Performs all calls at once; says how each ended.
std::map<std::string, errc> outcomes_of(std::map<std::string, limited_call> const& calls,
                                        hf::call_options const& limits) {
  std::mutex mutex;
  std::map<std::string, errc> outcomes;
  std::vector<std::thread> threads;
  for (auto const& [name, call] : calls)
    threads.emplace_back([&, name = name, call = call] {
      auto outcome = errc{};
      try {
        call(limits);
      } catch (hf::error const& e) {
        outcome = e.kind();
      }
      std::lock_guard<std::mutex> const lock(mutex);
      outcomes[name] = outcome;
    });
  for (auto& thread : threads)
    thread.join();
  return outcomes;
}

}  // namespace

TEMPLATE_TEST_CASE("every call to a stopped agent ends at its deadline, or when it is stopped", "",
                   HF_SANDBOX_TEST_TRANSPORTS) {
  agent_process agent;
  TestType transport;
  auto const to = endpoint_of(agent);
  auto const health = hf::detail::probe_health(transport, to, 5s, {});
  hf::agent_client<TestType> client(transport, to, health);
  hf::agent_client<TestType> unasked(transport, to);
  hf::spawn_options options;
  options.open_input = true;
  auto const started = hf::detail::spawn(client, hf::shell("cat; exit 6"), options);
  auto const shared = std::shared_ptr<hf::agent_client<TestType>>(std::shared_ptr<void>(), &client);
  hf::basic_process<TestType> process(shared, {}, started.handle, started.pid);
  auto const victim = hf::detail::spawn(client, {"sleep", "1000"}, {});
  auto const calls = blocking_calls<TestType>(
      client, unasked, {shared, {}, victim.handle, victim.pid}, agent.directory());

  agent.signal(SIGSTOP);
  auto const begun = std::chrono::steady_clock::now();
  for (auto const& [name, outcome] : outcomes_of(calls, {.deadline = begun + soon})) {
    INFO(name);
    // A signal is the one call that has an effect and no operation id.
    CHECK(outcome == (name == "signal" ? errc::outcome_unknown : errc::request_timed_out));
  }
  auto waiting = std::async(std::launch::async, [process]() mutable { process.wait_for(10ms); });
  hf::stop_source stop;
  std::thread stopper([&] {
    std::this_thread::sleep_for(300ms);
    stop.request_stop();
  });
  hf::call_options limits;
  limits.stop = stop.get_token();
  for (auto const& [name, outcome] : outcomes_of(calls, limits)) {
    INFO(name);
    CHECK(outcome == errc::cancelled);
  }
  stopper.join();
  CHECK_THROWS_AS(waiting.get(), hf::error);
  // Without their limits they would have waited for minutes.
  CHECK(std::chrono::steady_clock::now() - begun < 45s);

  agent.signal(SIGCONT);
  process.write_input("done", 0, true);
  CHECK(process.wait().exit_code == 6);
  CHECK(process.output().out == "done");
}
