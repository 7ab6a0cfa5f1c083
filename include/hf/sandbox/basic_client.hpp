#ifndef HF_SANDBOX_BASIC_CLIENT_HPP
#define HF_SANDBOX_BASIC_CLIENT_HPP

#include <hf/sandbox/http/transport.hpp>
#include <hf/sandbox/launchers/launcher.hpp>

#include <memory>
#include <utility>

namespace hf {

/// One transport and one launcher with their pools and caches, shared by any number of sandboxes.
///
/// Make one with `std::make_shared` (or `make_client`) and pass it to `create`, `connect` and
/// `list`, so that connections are reused and lookups cached. Its members may be used from several
/// threads.
template <class Transport, class Launcher>
requires transport<Transport> && launcher<Launcher, Transport>
class basic_client {
 public:
  /// The transport.
  using transport_type = Transport;
  /// The launcher.
  using launcher_type = Launcher;

  /// A client that owns this launcher and this transport.
  explicit basic_client(Launcher launcher = Launcher(), Transport transport = Transport())
      : transport_(std::move(transport)), launcher_(std::move(launcher)) {}

  basic_client(basic_client const&) = delete;
  basic_client& operator=(basic_client const&) = delete;

  /// The transport that all calls go through.
  [[nodiscard]] Transport& transport() noexcept { return transport_; }
  /// The launcher of all its sandboxes.
  [[nodiscard]] Launcher& launcher() noexcept { return launcher_; }

 private:
  Transport transport_;
  Launcher launcher_;
};

}  // namespace hf

#endif
