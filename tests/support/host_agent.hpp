#ifndef HF_SANDBOX_TESTS_SUPPORT_HOST_AGENT_HPP
#define HF_SANDBOX_TESTS_SUPPORT_HOST_AGENT_HPP

#include "support/agent_process.hpp"
#include "support/exec_client.hpp"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

namespace hf::testing_support {

/// One sandbox of a `host_agent`.
struct pooled {
  std::string id = {};
  std::string token = {};
  unsigned uid = 0;
  std::string home = {};

  [[nodiscard]] std::string route(std::string_view below = {}) const {
    return "/v1/sandboxes/" + id + std::string(below);
  }
};

/// The built agent in host mode, with a directory of homes of its own. Needs root. Two of them
/// beside each other would hand out the same user ids: tests with one are [serial].
class host_agent {
 public:
  explicit host_agent(agent_options options = {}) : agent_(prepared(std::move(options))) {}
  ~host_agent() {
    std::error_code ignored;
    std::filesystem::remove_all(homes_, ignored);
  }
  host_agent(host_agent const&) = delete;
  host_agent& operator=(host_agent const&) = delete;

  [[nodiscard]] agent_process& process() { return agent_; }
  [[nodiscard]] std::string const& homes() const { return homes_; }

  [[nodiscard]] http_answer request(std::string_view token, std::string_view method,
                                    std::string_view target, std::string_view body = {}) const {
    raw_http connection = agent_.connect();
    connection.patience = std::chrono::seconds(60);
    connection.send_request(method, target, token, body);
    return connection.read_answer(method == "HEAD");
  }
  /// With the host's token.
  [[nodiscard]] http_answer manage(std::string_view method, std::string_view target,
                                   std::string_view body = {}) const {
    return request(agent_.token(), method, target, body);
  }
  [[nodiscard]] std::vector<pooled> create(nlohmann::json const& body) const {
    auto const answer = manage("POST", "/v1/sandboxes", body.dump());
    if (answer.status != 200)
      throw std::runtime_error("not created: " + answer.body);
    std::vector<pooled> made;
    auto const all = answer.json();
    for (auto const& entry : all.at("sandboxes"))
      made.push_back({entry.at("id"), entry.at("token"), entry.at("uid"), entry.at("home")});
    return made;
  }
  [[nodiscard]] pooled create() const { return create({{"count", 1}}).at(0); }
  [[nodiscard]] http_answer call(pooled const& box, std::string_view method, std::string_view below,
                                 std::string_view body = {}) const {
    return request(box.token, method, box.route(below), body);
  }
  [[nodiscard]] exec_outcome exec(pooled const& box, nlohmann::json const& body) const {
    return events_with_token(agent_, box.token, "POST", box.route("/exec"), body.dump());
  }
  /// What a shell script in the sandbox prints, both streams together.
  [[nodiscard]] std::string shell(pooled const& box, std::string const& script) const {
    auto const done = exec(box, {{"cmd", script}, {"merge_stderr", true}, {"timeout", 60}});
    return done.out;
  }

 private:
  agent_options prepared(agent_options options) {
    char pattern[] = "/tmp/hf-homes-XXXXXX";
    if (::mkdtemp(pattern) == nullptr)
      throw std::runtime_error("mkdtemp failed");
    homes_ = pattern;
    // Sandboxes pass through it to their homes.
    ::chmod(pattern, 0711);
    options.env.emplace("SBX_HOST_MODE", "1");
    options.flags.push_back("--homes=" + homes_ + "/homes");
    return options;
  }

  std::string homes_;
  agent_process agent_;
};

/// Processes of this machine that run as that user.
inline std::size_t count_processes_of(unsigned uid) {
  std::size_t found = 0;
  std::error_code ignored;
  for (auto const& entry : std::filesystem::directory_iterator("/proc", ignored)) {
    if (entry.path().filename().string().find_first_not_of("0123456789") != std::string::npos)
      continue;
    std::ifstream in(entry.path() / "status");
    bool dead = false;
    for (std::string line; std::getline(in, line);) {
      unsigned owner = 0;
      dead = dead || line.starts_with("State:\tZ") || line.starts_with("State:\tX");
      if (std::sscanf(line.c_str(), "Uid:\t%u", &owner) == 1)
        found += owner == uid && !dead ? 1 : 0;
    }
  }
  return found;
}

}  // namespace hf::testing_support

#endif
