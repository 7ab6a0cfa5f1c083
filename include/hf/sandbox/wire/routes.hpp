#ifndef HF_SANDBOX_WIRE_ROUTES_HPP
#define HF_SANDBOX_WIRE_ROUTES_HPP

#include <cstdint>
#include <string_view>

namespace hf::wire {

/// Newest version of the common protocol that is spoken here.
inline constexpr int protocol_version = 3;
/// Port of the agent in a machine of HF Jobs; shared with the official client.
inline constexpr std::uint16_t default_port = 49983;

/// Carries the agent's token.
inline constexpr std::string_view token_header = "X-Sandbox-Token";
/// On authorised answers: the agent's random id since its start. On a resend of an operation: the
/// agent it was first sent to.
inline constexpr std::string_view instance_header = "X-Sandbox-Instance";

inline constexpr std::string_view health_route = "/health";
inline constexpr std::string_view info_route = "/v1/info";
inline constexpr std::string_view exec_route = "/v1/exec";
/// Also "/{id}", "/{id}/events", "/{id}/stdin", "/{id}/wait", "/{id}/signal".
inline constexpr std::string_view processes_route = "/v1/processes";
/// Followed by "/{op}".
inline constexpr std::string_view ops_route = "/v1/ops";
inline constexpr std::string_view files_read_route = "/v1/files/read";
inline constexpr std::string_view files_write_route = "/v1/files/write";
inline constexpr std::string_view files_list_route = "/v1/files/list";
inline constexpr std::string_view files_stat_route = "/v1/files/stat";
inline constexpr std::string_view files_delete_route = "/v1/files/delete";
inline constexpr std::string_view files_mkdir_route = "/v1/files/mkdir";
/// Followed by "/{port}/{rest}".
inline constexpr std::string_view proxy_route = "/v1/proxy";
/// Host mode: management; followed by "/{id}" and a route of the sandbox, e.g. "/{id}/exec".
inline constexpr std::string_view sandboxes_route = "/v1/sandboxes";

/// Largest JSON request body of exec and processes, in bytes.
inline constexpr std::uint64_t max_json_body = 16u << 20;
/// Input above this many bytes is streamed to `/stdin` rather than put into the request.
inline constexpr std::uint64_t max_inline_input = 1u << 20;

}  // namespace hf::wire

#endif
