#ifndef HF_SANDBOX_AGENT_HTTP_TRANSFER_TURN_HPP
#define HF_SANDBOX_AGENT_HTTP_TRANSFER_TURN_HPP

#include <chrono>

namespace hf::agent {

/// How long a transfer waits on its own thread for a peer that has nothing to send, or no room. A
/// peer that keeps up is served without a detour over the event loop, which would cost half as much
/// again; one that does not soon gives the thread free.
inline constexpr int quick_peer_ms = 10;
/// A peer that moves a little now and then must not keep the thread from others, either.
inline constexpr auto longest_turn = std::chrono::milliseconds(50);

}  // namespace hf::agent

#endif
