#ifndef HF_SANDBOX_DOCKER_RESOURCES_HPP
#define HF_SANDBOX_DOCKER_RESOURCES_HPP

#include <hf/sandbox/docker/options.hpp>
#include <hf/sandbox/error.hpp>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace hf::detail::docker {

/// CPUs and memory that a container may use.
struct resources {
  double cpus = 0;
  std::uint64_t memory = 0;
};

/// What a flavor of the Hub means here. The sizes are those of HF Jobs' hardware.
struct flavor_size {
  std::string_view name;
  resources size;
};
inline constexpr std::array<flavor_size, 2> flavors{{
    {"cpu-basic", {2, std::uint64_t{16} << 30}},
    {"cpu-upgrade", {8, std::uint64_t{32} << 30}},
}};

/// The limits for a flavor (empty: cpu-basic), explicit options first. `errc::unsupported` for a
/// flavor that is not known here, among them all with accelerators.
template <class = void>
[[nodiscard]] resources resources_for(docker_options const& options, std::string_view flavor) {
  if (flavor.empty())
    flavor = "cpu-basic";
  resources out;
  bool known = false;
  for (auto const& candidate : flavors)
    if (candidate.name == flavor) {
      out = candidate.size;
      known = true;
    }
  if (!known)
    throw error(errc::unsupported,
                "flavor: the Docker launcher knows cpu-basic and cpu-upgrade, "
                "not '" +
                    std::string(flavor) +
                    "'; for other sizes set "
                    "docker_options::cpus and docker_options::memory");
  if (options.cpus)
    out.cpus = *options.cpus;
  if (options.memory)
    out.memory = *options.memory;
  if (!(out.cpus >= 0.01))
    throw error(errc::invalid_argument, "docker_options::cpus must be at least 0.01");
  // The engine's own lower bound.
  if (out.memory < (std::uint64_t{6} << 20))
    throw error(errc::invalid_argument, "docker_options::memory must be at least 6 MiB");
  return out;
}

}  // namespace hf::detail::docker

#endif
