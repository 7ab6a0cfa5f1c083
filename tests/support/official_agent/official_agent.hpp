#ifndef HF_SANDBOX_TESTS_SUPPORT_OFFICIAL_AGENT_OFFICIAL_AGENT_HPP
#define HF_SANDBOX_TESTS_SUPPORT_OFFICIAL_AGENT_OFFICIAL_AGENT_HPP

#include "support/agent_process.hpp"

#include <hf/sandbox/agent/endpoint.hpp>
#include <hf/sandbox/agent/ready.hpp>
#include <hf/sandbox/basic_sandbox.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/launchers/launcher.hpp>

#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace hf::testing_support {

/// Skips the running test where the double of the official agent cannot run.
inline void need_official_agent() {
  if (std::system("command -v python3 >/dev/null 2>&1") != 0)
    SKIP("no python3 for the double of the official agent");
}

/// How a test wants the double of the official agent.
struct official_options {
  std::string version = "0.7.0";
  /// A unix socket in place of TCP, for `faulty_proxy`.
  bool unix_socket = false;
  std::map<std::string, std::string> env = {};
  /// Further arguments of official_agent.py.
  std::vector<std::string> flags = {};
};

/// official_agent.py as a child process, with a scratch directory that is its working directory.
class official_agent {
 public:
  explicit official_agent(official_options options = {}) : process_(start_options(options)) {}

  [[nodiscard]] agent_process& process() { return process_; }
  /// A scratch directory, removed with the agent.
  [[nodiscard]] std::string const& directory() const { return process_.directory(); }
  [[nodiscard]] hf::endpoint endpoint() const { return endpoint(process_.socket_path()); }
  /// The endpoint behind another unix socket.
  [[nodiscard]] hf::endpoint endpoint(std::string socket) const {
    hf::endpoint to;
    to.url = socket.empty() ? "http://127.0.0.1:" + std::to_string(process_.port())
                            : "http://localhost";
    to.headers = {{"X-Sandbox-Token", process_.token()}};
    to.unix_socket = std::move(socket);
    return to;
  }
  /// The heads of all requests so far: method, target and headers (names in lower case).
  [[nodiscard]] std::vector<nlohmann::json> requests() const {
    std::vector<nlohmann::json> out;
    std::ifstream in(directory() + "/requests");
    for (std::string line; std::getline(in, line);)
      out.push_back(nlohmann::json::parse(line));
    return out;
  }

 private:
  static agent_options start_options(official_options const& wanted) {
    agent_options out;
    out.tcp = !wanted.unix_socket;
    out.env = wanted.env;
    out.prefix = {"python3", "-E", "-S"};
    out.binary =
        std::string(HF_SANDBOX_TEST_SOURCE_DIR) + "/tests/support/official_agent/official_agent.py";
    out.flags = {"--version", wanted.version, "--trace", "requests"};
    out.flags.insert(out.flags.end(), wanted.flags.begin(), wanted.flags.end());
    return out;
  }

  agent_process process_;
};

/// Starts one official agent for each sandbox. Copies share their machines.
class official_launcher {
 public:
  explicit official_launcher(official_options options = {}) : options_(std::move(options)) {}

  template <transport T>
  instance launch(T& through, launch_options const& options) {
    auto agent = std::make_shared<official_agent>(options_);
    instance machine;
    machine.id = "official-" + std::to_string(machines_->size() + 1);
    machine.phase = phase::running;
    machine.endpoint = agent->endpoint();
    machine.health = detail::wait_until_ready(
        through, *machine.endpoint, std::chrono::steady_clock::now() + options.start_timeout,
        options.stop, {});
    (*machines_)[machine.id] = {machine, std::move(agent)};
    return machine;
  }
  template <transport T>
  instance inspect(T&, std::string const& id) {
    auto const found = machines_->find(id);
    if (found == machines_->end())
      throw error(errc::not_found, "no machine " + id);
    auto machine = found->second.first;
    // As launchers do that only look a machine up: the agent was not asked.
    machine.health.reset();
    return machine;
  }
  template <transport T>
  std::vector<instance> list(T&, label_filter const&) {
    std::vector<instance> out;
    for (auto const& [id, machine] : *machines_)
      out.push_back(machine.first);
    return out;
  }
  template <transport T>
  void stop(T&, std::string const& id) {
    machines_->erase(id);
  }
  template <transport T>
  std::string logs(T&, std::string const& id) {
    return agent(id).process().log();
  }

  [[nodiscard]] official_agent& agent(std::string const& id) { return *machines_->at(id).second; }

 private:
  using machine_map = std::map<std::string, std::pair<instance, std::shared_ptr<official_agent>>>;
  official_options options_;
  std::shared_ptr<machine_map> machines_ = std::make_shared<machine_map>();
};

template <class Transport>
using official_sandbox = basic_sandbox<Transport, official_launcher>;

/// The kind of error that a call ends with; `errc{}` when with none.
template <class Call>
errc kind_of(Call&& call) {
  try {
    call();
  } catch (error const& e) {
    return e.kind();
  }
  return errc{};
}

}  // namespace hf::testing_support

#endif
