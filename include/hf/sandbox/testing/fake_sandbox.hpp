#ifndef HF_SANDBOX_TESTING_FAKE_SANDBOX_HPP
#define HF_SANDBOX_TESTING_FAKE_SANDBOX_HPP

#include <hf/sandbox/basic_sandbox.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/transport_traits.hpp>
#include <hf/sandbox/options.hpp>
#include <hf/sandbox/testing/fake_agent.hpp>
#include <hf/sandbox/testing/fake_launcher.hpp>
#include <hf/sandbox/testing/scripted_transport.hpp>

#include <concepts>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace hf::testing {

/// The transport of a `fake_sandbox`. Copies share its agent.
class fake_transport {
 public:
  /// What it can do.
  static constexpr transport_traits traits{.name = "fake"};

  /// A transport to an agent of its own.
  fake_transport() : agent_(std::make_shared<fake_agent>()) {}

  /// The agent behind it.
  [[nodiscard]] fake_agent& agent() const noexcept { return *agent_; }

  /// Performs one request.
  void send(http::request const& rq, http::response_sink& sink) {
    auto const target = hf::detail::validate_request(rq);
    hf::detail::check_not_over(rq);
    agent_->send(read_request(rq, target), rq, sink);
  }

 private:
  std::shared_ptr<fake_agent> agent_;
};

static_assert(transport<fake_transport>);

/// A sandbox in memory, for the unit tests of programs that use one: commands have the replies that
/// the test gives them, files are a map, nothing is started.
///
/// ```
/// hf::testing::fake_sandbox fake;
/// fake.on("git clone *", {.err = "no such repository\n", .exit_code = 128});
/// fake.write("/etc/os-release", "ID=debian\n");
/// auto sb = fake.create();
/// CHECK(code_under_test(sb) == ...);
/// ```
///
/// What `create` returns is a `basic_sandbox` like any other. For code that takes another sandbox
/// type, erase the two policies: `basic_sandbox<any_transport, any_launcher>::create({}, fake.launcher(),
/// fake.transport())`.
/// All sandboxes of one `fake_sandbox` share its files and replies. Copies share everything.
class fake_sandbox {
 public:
  /// The type of its sandboxes.
  using sandbox_type = basic_sandbox<fake_transport, fake_launcher>;

  /// Commands whose script, or whose arguments with a space between them, match the pattern ("*"
  /// stands for any characters) do this. The newest pattern that fits is taken; a command that
  /// none fits fails with `errc::exec_failed`.
  fake_sandbox& on(std::string pattern, fake_run run) {
    transport_.agent().on(std::move(pattern),
                          [run = std::move(run)](fake_command const&) { return run; });
    return *this;
  }
  /// The same, with a function that makes the reply; it may use this object.
  template <std::invocable<fake_command const&> Make>
  fake_sandbox& on(std::string pattern, Make make) {
    transport_.agent().on(std::move(pattern), std::move(make));
    return *this;
  }
  /// Writes a file; relative paths begin at /root.
  fake_sandbox& write(std::string const& path, std::string content) {
    transport_.agent().write(path, std::move(content));
    return *this;
  }
  /// The files by absolute path.
  [[nodiscard]] std::map<std::string, std::string> files() const {
    return transport_.agent().files();
  }
  /// The commands that ran so far, in order.
  [[nodiscard]] std::vector<fake_command> commands() const { return transport_.agent().commands(); }
  /// The next request to the agent fails with this error in place of an answer. (Connection
  /// failures that the library retries are seen by the caller only when they come often enough.)
  fake_sandbox& fail_next(error what) {
    transport_.agent().fail_next(std::move(what));
    return *this;
  }

  /// A sandbox.
  [[nodiscard]] sandbox_type create(launch_options const& options = {}) const {
    return sandbox_type::create(options, launcher_, transport_);
  }
  /// Its launcher, whose machines a test may end and count.
  [[nodiscard]] fake_launcher const& launcher() const noexcept { return launcher_; }
  /// The same, to change it.
  [[nodiscard]] fake_launcher& launcher() noexcept { return launcher_; }
  /// Its transport.
  [[nodiscard]] fake_transport const& transport() const noexcept { return transport_; }

 private:
  fake_launcher launcher_;
  fake_transport transport_;
};

}  // namespace hf::testing

#endif
