#ifndef HF_SANDBOX_TESTS_SUPPORT_FAKE_HUB_NETWORK_NAMESPACE_HPP
#define HF_SANDBOX_TESTS_SUPPORT_FAKE_HUB_NETWORK_NAMESPACE_HPP

#include <cstdint>

namespace hf::testing_support::fake {

/// Descriptor of the calling thread's network namespace; -1 on failure.
int current_network_namespace();

/// Moves the calling thread into a new network namespace with a working loopback interface.
bool enter_new_network_namespace();

/// A socket listening on 127.0.0.1:`port` of the calling thread's namespace; -1 on failure.
int listen_on(std::uint16_t port);

/// The port that a listening socket got.
std::uint16_t port_of(int fd);

/// Connects to 127.0.0.1:`port` in `name_space` (negative: the calling thread's), coming back to
/// `home`. -1 on failure.
int connect_to(std::uint16_t port, int name_space, int home);

}  // namespace hf::testing_support::fake

#endif
