#ifndef HF_SANDBOX_TESTING_ARCHETYPES_HPP
#define HF_SANDBOX_TESTING_ARCHETYPES_HPP

#include <hf/sandbox/http/request.hpp>
#include <hf/sandbox/http/response.hpp>
#include <hf/sandbox/http/transport.hpp>
#include <hf/sandbox/launchers/launcher.hpp>
#include <hf/sandbox/options.hpp>

#include <string>
#include <vector>

namespace hf::testing {

/// The least that models `hf::transport`: generic code that compiles with it asks for no more than
/// the concept promises. Answers every request with an empty 200.
class transport_archetype {
 public:
  transport_archetype() = delete;
  transport_archetype(transport_archetype&&) = default;
  transport_archetype& operator=(transport_archetype&&) = default;

  void send(http::request const&, http::response_sink& sink) { sink.on_head({200, {}}); }
  /// What a test makes one with, as there is no default constructor.
  static transport_archetype make() { return transport_archetype(0); }

 private:
  explicit transport_archetype(int) {}
};

/// The least that models `hf::launcher` for every transport. Knows no machine.
class launcher_archetype {
 public:
  launcher_archetype() = delete;
  launcher_archetype(launcher_archetype&&) = default;
  launcher_archetype& operator=(launcher_archetype&&) = default;

  template <transport T>
  instance launch(T&, launch_options const&) {
    return {};
  }
  template <transport T>
  instance inspect(T&, std::string const&) {
    return {};
  }
  template <transport T>
  std::vector<instance> list(T&, label_filter const&) {
    return {};
  }
  template <transport T>
  void stop(T&, std::string const&) {}
  template <transport T>
  std::string logs(T&, std::string const&) {
    return {};
  }
  /// What a test makes one with, as there is no default constructor.
  static launcher_archetype make() { return launcher_archetype(0); }

 private:
  explicit launcher_archetype(int) {}
};

static_assert(transport<transport_archetype>);
static_assert(launcher<launcher_archetype, transport_archetype>);

}  // namespace hf::testing

#endif
