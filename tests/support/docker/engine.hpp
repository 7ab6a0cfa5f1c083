#ifndef HF_SANDBOX_TESTS_SUPPORT_DOCKER_ENGINE_HPP
#define HF_SANDBOX_TESTS_SUPPORT_DOCKER_ENGINE_HPP

#include <hf/sandbox/basic_sandbox.hpp>
#include <hf/sandbox/detail/crypto.hpp>
#include <hf/sandbox/docker/machines.hpp>
#include <hf/sandbox/launchers/docker.hpp>
#include <hf/sandbox/transports/curl.hpp>

#include <catch2/catch_test_macros.hpp>
#include <elf.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <utility>

namespace hf::testing_support {

inline constexpr char const* busybox_image = "hf-sandbox-test/busybox";
inline constexpr char const* python_image = "hf-sandbox-test/python";

using docker_sandbox = basic_sandbox<curl_transport, docker_launcher>;

/// Talks to the engine behind the launcher's back.
class engine_probe {
 public:
  explicit engine_probe(docker_options options = {})
      : engine_(detail::docker::find_engine(options)) {}

  /// Any call; the answer's status and JSON.
  std::pair<int, nlohmann::json> call(std::string const& method, std::string const& path,
                                      std::string body = {}, std::string const& type = {}) {
    auto rq = engine_.request(transport_, method, path, {});
    if (!body.empty()) {
      rq.body = std::move(body);
      rq.fields.set("Content-Type", type);
    }
    auto const answer = engine_.exchange(transport_, rq);
    return {answer.status, nlohmann::json::parse(answer.body, nullptr, false)};
  }

  /// The containers, running or not, that carry a label ("key=value").
  nlohmann::json containers(std::string const& label) {
    nlohmann::json const filters{{"label", {label}}};
    return call("GET", "/containers/json" +
                           http::encode_query({{"all", "1"}, {"filters", filters.dump()}}))
        .second;
  }

  nlohmann::json inspect(std::string const& id) {
    return call("GET", "/containers/" + id + "/json").second;
  }
  bool exists(std::string const& id) {
    return call("GET", "/containers/" + id + "/json").first == 200;
  }
  bool has_image(std::string const& name) {
    return call("GET", "/images/" + name + "/json").first == 200;
  }

 private:
  curl_transport transport_;
  detail::docker::engine<> engine_;
};

/// Whether a program needs no loader: what an agent in a container of any image must not.
inline bool is_static(std::filesystem::path const& program) {
  std::ifstream file(program, std::ios::binary);
  Elf64_Ehdr head{};
  if (!file.read(reinterpret_cast<char*>(&head), sizeof head))
    return false;
  for (int i = 0; i < head.e_phnum; ++i) {
    Elf64_Phdr part{};
    file.seekg(static_cast<std::streamoff>(head.e_phoff) + i * head.e_phentsize);
    if (!file.read(reinterpret_cast<char*>(&part), sizeof part))
      return false;
    if (part.p_type == PT_INTERP)
      return false;
  }
  return true;
}

/// The agent for containers: HF_SANDBOX_AGENT; where that one is dynamic, as with sanitizers, the
/// one of the release build beside. Empty: none.
inline std::filesystem::path container_agent() {
  char const* const named = std::getenv("HF_SANDBOX_AGENT");
  if (named == nullptr)
    return {};
  std::filesystem::path const own(named);
  if (is_static(own))
    return own;
  auto const beside =
      own.parent_path().parent_path().parent_path() / "release/bin" / own.filename();
  return is_static(beside) ? beside : std::filesystem::path();
}

/// Why the tests with containers cannot run here; empty: they can.
inline std::string const& why_no_engine() {
  static std::string const reason = [] {
    try {
      engine_probe probe;
      for (char const* const image : {busybox_image, python_image})
        if (!probe.has_image(image))
          return "the engine has no image " + std::string(image) +
                 " (tests/support/docker/start_engine makes it)";
    } catch (error const& e) {
      return std::string(e.what());
    }
    if (container_agent().empty())
      return std::string(
          "there is no statically linked agent (this build's is not, and there is no release build "
          "beside it)");
    return std::string();
  }();
  return reason;
}

/// Settings of a launcher for tests.
inline docker_options docker_settings() {
  docker_options options;
  options.agent = container_agent();
  // Two CPUs and 16 GB may be more than the machine has; tests need little.
  options.memory = std::uint64_t{256} << 20;
  return options;
}

/// Skips the test where there is no engine. Else: one label for all sandboxes of the test, which
/// are gone at its end, also when it fails.
class docker_test {
 public:
  docker_test() : docker_test(docker_settings()) {}
  explicit docker_test(docker_options options) : options_(std::move(options)) {
    if (!why_no_engine().empty())
      SKIP(why_no_engine());
  }
  docker_test(docker_test const&) = delete;
  docker_test& operator=(docker_test const&) = delete;
  ~docker_test() {
    try {
      for (auto const& entry : probe_.containers("test=" + label_))
        probe_.call("DELETE", "/containers/" + entry.at("Id").get<std::string>() + "?force=1&v=1");
    } catch (...) {
    }
  }

  /// Options with the test's label.
  [[nodiscard]] launch_options options(std::string image = busybox_image) const {
    launch_options o;
    o.image = std::move(image);
    o.labels = {{"test", label_}};
    return o;
  }
  [[nodiscard]] label_filter filter() const { return {{"test", label_}}; }
  [[nodiscard]] docker_launcher launcher() const { return docker_launcher(options_); }
  [[nodiscard]] docker_sandbox create(launch_options const& o) const {
    return docker_sandbox::create(o, launcher());
  }
  [[nodiscard]] docker_sandbox create() const { return create(options()); }
  engine_probe& probe() { return probe_; }
  /// Containers of this test, running or not.
  std::size_t containers() { return probe_.containers("test=" + label_).size(); }

 private:
  docker_options options_;
  engine_probe probe_{options_};
  std::string label_ = detail::random_hex(8);
};

/// Waits until `holds`, for at most `limit`; whether it came true.
inline bool eventually(std::function<bool()> const& holds,
                       std::chrono::seconds limit = std::chrono::seconds(60)) {
  auto const deadline = std::chrono::steady_clock::now() + limit;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > deadline)
      return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return true;
}

}  // namespace hf::testing_support

#endif
