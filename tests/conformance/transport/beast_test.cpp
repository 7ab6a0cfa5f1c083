#if defined(HF_SANDBOX_HAS_BEAST)
#include "transport_suite.hpp"
#include "transport_suite_tls.hpp"

#include <hf/sandbox/transports/beast.hpp>

HF_SANDBOX_TRANSPORT_SUITE("beast", hf::beast_transport);
HF_SANDBOX_TRANSPORT_SUITE_TLS("beast", hf::beast_transport);
#endif
