#ifndef HF_SANDBOX_TESTS_SUPPORT_CONFINED_HPP
#define HF_SANDBOX_TESTS_SUPPORT_CONFINED_HPP

#include "support/in_child.hpp"

#include <hf/sandbox/basic_sandbox.hpp>
#include <hf/sandbox/launchers/process.hpp>
#include <hf/sandbox/transports/curl.hpp>

#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace hf::testing_support {

using local_sandbox = hf::basic_sandbox<hf::curl_transport, hf::process_launcher>;

/// A user id for tests that run as root and need an ordinary user as well.
inline constexpr uid_t ordinary_uid = 61007;

/// The users that sandboxes are made as: root also as an ordinary one; 0 is who runs the tests.
inline std::vector<uid_t> creators() {
  if (::geteuid() == 0)
    return {0, ordinary_uid};
  return {0};
}

/// A directory of the test's that every user may enter; removed with all in it.
class public_directory {
 public:
  public_directory() {
    char pattern[] = "/tmp/hf-public-XXXXXX";
    if (::mkdtemp(pattern) == nullptr || ::chmod(pattern, 01777) != 0)
      throw std::runtime_error("mkdtemp failed");
    path_ = pattern;
  }
  public_directory(public_directory const&) = delete;
  public_directory& operator=(public_directory const&) = delete;
  ~public_directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] std::string const& path() const { return path_; }

 private:
  std::string path_;
};

/// The agent where every user may execute it: the build tree may be out of reach for them.
class public_agent {
 public:
  public_agent() {
    char const* const named = std::getenv("HF_SANDBOX_AGENT");
    if (named == nullptr)
      throw std::runtime_error("HF_SANDBOX_AGENT does not name the agent");
    std::filesystem::copy_file(named, path());
    ::chmod(path().c_str(), 0755);
  }
  [[nodiscard]] std::string path() const { return directory_.path() + "/hf-sandbox-agent"; }

 private:
  public_directory directory_;
};

/// What one script printed inside.
struct inside_result {
  std::string out;
  std::string err;
  int exit_code = -1;
};

/// Who creates a sandbox, and which one.
struct inside_options {
  /// User that creates the sandbox; 0: the caller.
  uid_t uid = 0;
  hf::isolation isolation = hf::isolation::private_root;
  hf::launch_options launch = {};
  std::string state_directory = {};
  std::string scratch_directory = {};
  /// HOME of the creator; empty: as it is.
  std::string home = {};
};

/// Creates a sandbox, runs each script in it, and returns what they printed. `STATE` in their
/// environment is the sandbox's state directory on the host. Throws what `create` throws, as
/// `std::runtime_error` that begins with the code's name.
inline std::vector<inside_result> run_inside(inside_options const& how,
                                             std::vector<std::string> const& scripts,
                                             std::map<std::string, std::string> env = {}) {
  public_agent const agent;
  std::string const text = in_child(how.uid, [&] {
    try {
      hf::process_launcher_options options;
      options.agent = agent.path();
      options.isolation = how.isolation;
      options.state_directory = how.state_directory;
      options.scratch_directory = how.scratch_directory;
      if (!how.home.empty())
        ::setenv("HOME", how.home.c_str(), 1);
      ::unsetenv("XDG_RUNTIME_DIR");
      if (how.uid != 0)
        ::unsetenv("TMPDIR");
      auto sb = local_sandbox::create(how.launch, hf::process_launcher(options));
      auto const& socket = sb.unix_socket();
      hf::exec_options with;
      with.env = env;
      with.env["STATE"] = socket.substr(0, socket.rfind('/'));
      auto all = nlohmann::json::array();
      for (auto const& script : scripts) {
        auto const r = sb.exec(hf::shell(script), with);
        all.push_back({{"out", r.out}, {"err", r.err}, {"exit", r.exit_code}});
      }
      all.push_back(sb.headers().begin()->value);
      return all.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
    } catch (hf::error const& e) {
      throw std::runtime_error(std::string(to_string(e.kind())) + ": " + e.what());
    }
  });
  auto const all = nlohmann::json::parse(text);
  std::vector<inside_result> results;
  for (auto const& one : all)
    if (one.is_object())
      results.push_back({one["out"], one["err"], one["exit"]});
    else
      results.push_back({one, "", 0});
  return results;
}

/// Why this isolation cannot be had on this machine; empty when it can.
inline std::string why_not(hf::isolation level, uid_t uid = 0) {
  inside_options how;
  how.uid = uid;
  how.isolation = level;
  try {
    run_inside(how, {});
    return {};
  } catch (std::runtime_error const& e) {
    std::string const what = e.what();
    if (what.starts_with("isolation_unavailable"))
      return what;
    throw;
  }
}

}  // namespace hf::testing_support

#endif
