#ifndef HF_SANDBOX_TESTS_SUPPORT_EXEC_CLIENT_HPP
#define HF_SANDBOX_TESTS_SUPPORT_EXEC_CLIENT_HPP

#include "support/agent_process.hpp"

#include <hf/sandbox/detail/base64.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace hf::testing_support {

/// What an event stream said.
struct exec_outcome {
  int status = 0;
  /// The whole answer when it was an error.
  nlohmann::json error = nullptr;
  nlohmann::json start = nullptr;
  nlohmann::json exit = nullptr;
  std::string out = {};
  std::string err = {};
  std::vector<std::uint64_t> seqs = {};
  /// The stream ended behind the exit event, in order.
  bool complete = false;

  [[nodiscard]] int code() const { return exit.at("exit_code").get<int>(); }
  [[nodiscard]] std::string id() const { return start.at("id").get<std::string>(); }
};

/// Takes events from a connection whose answer's head has been read.
inline void collect_events(raw_http& connection, exec_outcome& outcome) {
  while (auto event = connection.read_event()) {
    std::string const kind = event->at("event").get<std::string>();
    if (event->contains("seq"))
      outcome.seqs.push_back(event->at("seq").get<std::uint64_t>());
    outcome.complete = kind == "exit";
    if (kind == "start") {
      outcome.start = *event;
    } else if (kind == "exit") {
      outcome.exit = *event;
    } else if (kind == "stdout" || kind == "stderr") {
      std::string& to = kind == "stdout" ? outcome.out : outcome.err;
      to += event->contains("b64")
                ? hf::detail::base64_decode(event->at("b64").get<std::string>()).value()
                : event->at("data").get<std::string>();
    }
  }
}

/// Sends a request that answers with events, and takes them all.
inline exec_outcome events_with_token(agent_process const& agent, std::string_view token,
                                      std::string_view method, std::string_view target,
                                      std::string const& body = {}, header_list fields = {}) {
  raw_http connection = agent.connect();
  connection.patience = std::chrono::seconds(120);
  connection.send_request(method, target, token, body, std::move(fields));
  exec_outcome outcome;
  auto answer = connection.read_head();
  outcome.status = answer.status;
  if (answer.status != 200) {
    while (auto piece = connection.read_chunk())
      answer.body += *piece;
    outcome.error = nlohmann::json::parse(answer.body);
    return outcome;
  }
  collect_events(connection, outcome);
  return outcome;
}

inline exec_outcome events_of(agent_process const& agent, std::string_view method,
                              std::string_view target, std::string const& body = {},
                              header_list fields = {}) {
  return events_with_token(agent, agent.token(), method, target, body, std::move(fields));
}

inline exec_outcome exec(agent_process const& agent, nlohmann::json const& body) {
  return events_of(agent, "POST", "/v1/exec", body.dump());
}

/// A foreground run whose answer has begun and goes on.
struct running_exec {
  raw_http connection;
  nlohmann::json start;
};

inline running_exec begin_exec(agent_process const& agent, nlohmann::json const& body) {
  running_exec run{agent.connect(), nullptr};
  run.connection.send_request("POST", "/v1/exec", agent.token(), body.dump());
  if (run.connection.read_head().status != 200)
    throw std::runtime_error("exec was refused");
  run.start = run.connection.read_event().value();
  return run;
}

inline nlohmann::json start_process(agent_process const& agent, nlohmann::json const& body) {
  auto const answer = agent.request("POST", "/v1/processes", body.dump());
  if (answer.status != 200)
    throw std::runtime_error("not started: " + answer.body);
  return answer.json();
}

/// Processes on this machine whose command line contains the text.
inline std::size_t count_processes(std::string const& text) {
  std::size_t found = 0;
  std::error_code ignored;
  for (auto const& entry : std::filesystem::directory_iterator("/proc", ignored)) {
    if (entry.path().filename().string().find_first_not_of("0123456789") != std::string::npos)
      continue;
    // A process that ends meanwhile is an error of the stream, not an exception.
    std::ifstream in(entry.path() / "cmdline", std::ios::binary);
    std::ostringstream cmdline;
    cmdline << in.rdbuf();
    std::string line = cmdline.str();
    for (char& c : line)
      if (c == '\0')
        c = ' ';
    found += line.find(text) != std::string::npos ? 1 : 0;
  }
  return found;
}

/// Whether the condition comes true in time.
template <class Condition>
bool eventually(Condition&& condition, std::chrono::milliseconds limit = std::chrono::seconds(20)) {
  auto const until = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= until)
      return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

/// A number of seconds to sleep that no other test uses: recognisable among all processes.
inline std::string unique_sleep() {
  static int counter = 0;
  return "sleep 6" + std::to_string(::getpid()) + "." + std::to_string(++counter);
}

}  // namespace hf::testing_support

#endif
