/* DPDK behind shim.h: what is an inline function there becomes one call here, and every failure a negative errno. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* fopencookie */
#endif

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_epoll.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_mempool.h>
#include <rte_memzone.h>

#include "shim.h"

#define SAME_OFFSET(ours, theirs)                                                                                      \
	_Static_assert(offsetof(struct ces_mbuf, ours) == offsetof(struct rte_mbuf, theirs), "rte_mbuf." #theirs);    \
	_Static_assert(sizeof(((struct ces_mbuf *)0)->ours) == sizeof(((struct rte_mbuf *)0)->theirs),                \
		       "size of rte_mbuf." #theirs)

SAME_OFFSET(buf_addr, buf_addr);
SAME_OFFSET(buf_iova, buf_iova);
SAME_OFFSET(data_off, data_off);
SAME_OFFSET(refcnt, refcnt);
SAME_OFFSET(nb_segs, nb_segs);
SAME_OFFSET(port, port);
SAME_OFFSET(ol_flags, ol_flags);
SAME_OFFSET(packet_type, packet_type);
SAME_OFFSET(pkt_len, pkt_len);
SAME_OFFSET(data_len, data_len);
SAME_OFFSET(vlan_tci, vlan_tci);
SAME_OFFSET(rss, hash.rss);
SAME_OFFSET(tag, hash.fdir.hi);
SAME_OFFSET(vlan_tci_outer, vlan_tci_outer);
SAME_OFFSET(buf_len, buf_len);
SAME_OFFSET(pool, pool);
SAME_OFFSET(next, next);
SAME_OFFSET(tx_offload, tx_offload);

#define SAME_VALUE(ours, theirs) _Static_assert((ours) == (theirs), #theirs)

SAME_VALUE(CES_HEADROOM, RTE_PKTMBUF_HEADROOM);
SAME_VALUE(CES_DEFAULT_DATA_ROOM, RTE_MBUF_DEFAULT_BUF_SIZE);
SAME_VALUE(CES_MAX_LCORE, RTE_MAX_LCORE);
SAME_VALUE(CES_RX_VLAN_STRIPPED, RTE_MBUF_F_RX_VLAN_STRIPPED);
SAME_VALUE(CES_RX_RSS_HASH, RTE_MBUF_F_RX_RSS_HASH);
SAME_VALUE(CES_RX_IP_CKSUM_BAD, RTE_MBUF_F_RX_IP_CKSUM_BAD);
SAME_VALUE(CES_RX_IP_CKSUM_GOOD, RTE_MBUF_F_RX_IP_CKSUM_GOOD);
SAME_VALUE(CES_RX_IP_CKSUM_MASK, RTE_MBUF_F_RX_IP_CKSUM_MASK);
SAME_VALUE(CES_RX_L4_CKSUM_BAD, RTE_MBUF_F_RX_L4_CKSUM_BAD);
SAME_VALUE(CES_RX_L4_CKSUM_GOOD, RTE_MBUF_F_RX_L4_CKSUM_GOOD);
SAME_VALUE(CES_RX_L4_CKSUM_MASK, RTE_MBUF_F_RX_L4_CKSUM_MASK);
SAME_VALUE(CES_TX_VLAN, RTE_MBUF_F_TX_VLAN);
SAME_VALUE(CES_TX_IP_CKSUM, RTE_MBUF_F_TX_IP_CKSUM);
SAME_VALUE(CES_TX_IPV4, RTE_MBUF_F_TX_IPV4);
SAME_VALUE(CES_TX_L2_LEN_BITS, RTE_MBUF_L2_LEN_BITS);
SAME_VALUE(CES_TX_L3_LEN_BITS, RTE_MBUF_L3_LEN_BITS);
SAME_VALUE(CES_RX_OFFLOAD_VLAN_STRIP, RTE_ETH_RX_OFFLOAD_VLAN_STRIP);
SAME_VALUE(CES_RX_OFFLOAD_IPV4_CKSUM, RTE_ETH_RX_OFFLOAD_IPV4_CKSUM);
SAME_VALUE(CES_RX_OFFLOAD_UDP_CKSUM, RTE_ETH_RX_OFFLOAD_UDP_CKSUM);
SAME_VALUE(CES_RX_OFFLOAD_TCP_CKSUM, RTE_ETH_RX_OFFLOAD_TCP_CKSUM);
SAME_VALUE(CES_RX_OFFLOAD_SCATTER, RTE_ETH_RX_OFFLOAD_SCATTER);
SAME_VALUE(CES_RX_OFFLOAD_RSS_HASH, RTE_ETH_RX_OFFLOAD_RSS_HASH);
SAME_VALUE(CES_TX_OFFLOAD_VLAN_INSERT, RTE_ETH_TX_OFFLOAD_VLAN_INSERT);
SAME_VALUE(CES_TX_OFFLOAD_IPV4_CKSUM, RTE_ETH_TX_OFFLOAD_IPV4_CKSUM);
SAME_VALUE(CES_TX_OFFLOAD_MULTI_SEGS, RTE_ETH_TX_OFFLOAD_MULTI_SEGS);
SAME_VALUE(CES_LOG_ERR, RTE_LOG_ERR);
SAME_VALUE(CES_LOG_WARNING, RTE_LOG_WARNING);
SAME_VALUE(CES_LOG_NOTICE, RTE_LOG_NOTICE);
SAME_VALUE(CES_LOG_INFO, RTE_LOG_INFO);
SAME_VALUE(CES_PORT_NAME_SIZE, RTE_ETH_NAME_MAX_LEN);

/* A failed call that left its reason in rte_errno; never 0, so that a failure cannot look like success. */
static int last_error(void)
{
	return rte_errno > 0 ? -rte_errno : -EIO;
}

/* --- environment --- */

static ssize_t write_to_sink(void *cookie, const char *text, size_t length)
{
	ces_log_sink sink = *(ces_log_sink *)cookie;
	sink((uint32_t)rte_log_cur_msg_loglevel(), text, length);
	return (ssize_t)length;
}

int ces_log_redirect(ces_log_sink sink)
{
	static ces_log_sink kept;
	cookie_io_functions_t functions = { .write = write_to_sink };
	kept = sink;
	FILE *stream = fopencookie(&kept, "w", functions);
	if (stream == NULL)
		return -errno;
	return rte_openlog_stream(stream) == 0 ? 0 : -EIO;
}

int ces_eal_init(int argc, char **argv)
{
	return rte_eal_init(argc, argv) < 0 ? last_error() : 0;
}

int ces_eal_cleanup(void)
{
	return rte_eal_cleanup();
}

const char *ces_strerror(int errnum)
{
	return rte_strerror(errnum);
}

uint64_t ces_tsc_hz(void)
{
	return rte_get_tsc_hz();
}

/* --- lcores --- */

bool ces_lcore_is_worker(uint32_t lcore)
{
	return rte_lcore_is_enabled(lcore) && lcore != rte_get_main_lcore();
}

bool ces_lcore_is_waiting(uint32_t lcore)
{
	return rte_eal_get_lcore_state(lcore) == WAIT;
}

int ces_lcore_launch(uint32_t lcore, int (*function)(void *), void *argument)
{
	return rte_eal_remote_launch(function, argument, lcore);
}

int ces_lcore_wait(uint32_t lcore)
{
	return rte_eal_wait_lcore(lcore);
}

/* --- pools and mbufs --- */

static struct rte_mempool *theirs(const struct ces_pool *pool)
{
	return (struct rte_mempool *)(uintptr_t)pool;
}

static void free_zone(struct rte_mempool_memhdr *chunk, void *zone)
{
	(void)chunk;
	rte_memzone_free(zone);
}

/*
 * One block without gaps, for net_af_xdp: it registers with the kernel as many bytes as its packets have together, from the
 * first one on. DPDK's own way lets no packet cross a page, and so leaves gaps; packets beyond the registered block are then
 * refused, one after the other, until the receive ring stands still. Where devices see virtual addresses (always so without
 * huge pages or PCI devices) crossing a page harms nobody.
 */
static int populate_without_gaps(struct rte_mempool *pool)
{
	size_t object = (size_t)pool->header_size + pool->elt_size + pool->trailer_size;
	size_t length = object * pool->size + RTE_MEMPOOL_ALIGN;
	char name[RTE_MEMZONE_NAMESIZE];

	if (rte_eal_iova_mode() != RTE_IOVA_VA)
		return -ENOTSUP;
	snprintf(name, sizeof(name), "block-%s", pool->name);
	const struct rte_memzone *zone = rte_memzone_reserve(name, length, pool->socket_id, 0);
	if (zone == NULL)
		return -ENOMEM;
	pool->flags |= RTE_MEMPOOL_F_NO_IOVA_CONTIG; /* Let packets cross pages. */
	int got = rte_mempool_populate_iova(pool, zone->addr, zone->iova, zone->len, free_zone, (void *)(uintptr_t)zone);
	pool->flags &= ~RTE_MEMPOOL_F_NO_IOVA_CONTIG;
	if (got <= 0) {
		rte_memzone_free(zone);
		return -ENOMEM;
	}
	return got;
}

int ces_pool_create(const char *name, uint32_t mbufs, uint32_t cache, uint16_t data_room, int socket,
		    struct ces_pool **result)
{
	struct rte_pktmbuf_pool_private private = {.mbuf_data_room_size = data_room};
	struct rte_mempool *pool = rte_mempool_create_empty(name, mbufs, sizeof(struct rte_mbuf) + data_room, cache,
							    sizeof(private), socket, 0);

	if (pool == NULL)
		return last_error();
	int code = rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), NULL);
	if (code == 0) {
		rte_pktmbuf_pool_init(pool, &private);
		code = populate_without_gaps(pool);
		if (code < 0)
			code = rte_mempool_populate_default(pool);
	}
	if (code < 0) {
		rte_mempool_free(pool);
		return code;
	}
	rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
	*result = (struct ces_pool *)pool;
	return 0;
}

void ces_pool_free(struct ces_pool *pool)
{
	rte_mempool_free(theirs(pool));
}

uint32_t ces_pool_available(const struct ces_pool *pool)
{
	return rte_mempool_avail_count(theirs(pool));
}

uint32_t ces_pool_size(const struct ces_pool *pool)
{
	return theirs(pool)->size;
}

struct ces_mbuf *ces_mbuf_alloc(struct ces_pool *pool)
{
	return (struct ces_mbuf *)rte_pktmbuf_alloc(theirs(pool));
}

void ces_mbuf_free(struct ces_mbuf *mbuf)
{
	rte_pktmbuf_free((struct rte_mbuf *)mbuf);
}

void ces_mbuf_free_bulk(struct ces_mbuf **mbufs, uint32_t count)
{
	rte_pktmbuf_free_bulk((struct rte_mbuf **)mbufs, count);
}

int ces_mbuf_chain(struct ces_mbuf *head, struct ces_mbuf *tail)
{
	return rte_pktmbuf_chain((struct rte_mbuf *)head, (struct rte_mbuf *)tail);
}

int ces_mbuf_linearize(struct ces_mbuf *mbuf)
{
	return rte_pktmbuf_linearize((struct rte_mbuf *)mbuf) == 0 ? 0 : -ENOSPC;
}

/* --- ports: control --- */

int ces_port_by_name(const char *name, uint16_t *port)
{
	return rte_eth_dev_get_port_by_name(name, port);
}

bool ces_port_next(uint16_t from, uint16_t *port)
{
	uint64_t next = rte_eth_find_next(from);
	*port = (uint16_t)next;
	return next < RTE_MAX_ETHPORTS;
}

int ces_port_name(uint16_t port, char name[CES_PORT_NAME_SIZE])
{
	return rte_eth_dev_get_name_by_port(port, name);
}

int ces_port_info(uint16_t port, struct ces_port_info *info)
{
	struct rte_eth_dev_info device;
	int rc = rte_eth_dev_info_get(port, &device);
	if (rc != 0)
		return rc;
	*info = (struct ces_port_info){
		.driver = device.driver_name,
		.socket = rte_eth_dev_socket_id(port),
		.max_rx_queues = device.max_rx_queues,
		.max_tx_queues = device.max_tx_queues,
		.min_mtu = device.min_mtu,
		.max_mtu = device.max_mtu,
		.rss_key_length = device.hash_key_size,
		.rx_offloads = device.rx_offload_capa,
		.tx_offloads = device.tx_offload_capa,
		.rss_types = device.flow_type_rss_offloads,
	};
	return 0;
}

uint64_t ces_rss_types_ip_l4(void)
{
	return RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TCP;
}

int ces_port_configure(uint16_t port, const struct ces_port_conf *conf)
{
	struct rte_eth_conf device = {
		.rxmode = {
			.mq_mode = conf->rss_types != 0 ? RTE_ETH_MQ_RX_RSS : RTE_ETH_MQ_RX_NONE,
			.mtu = conf->mtu,
			.offloads = conf->rx_offloads,
		},
		.txmode = {
			.mq_mode = RTE_ETH_MQ_TX_NONE,
			.offloads = conf->tx_offloads,
		},
		.rx_adv_conf.rss_conf = {
			.rss_key = (uint8_t *)(uintptr_t)conf->rss_key,
			.rss_key_len = conf->rss_key_length,
			.rss_hf = conf->rss_types,
		},
		.intr_conf.rxq = conf->rx_interrupts,
	};
	return rte_eth_dev_configure(port, conf->rx_queues, conf->tx_queues, &device);
}

int ces_port_adjust_descriptors(uint16_t port, uint16_t *rx, uint16_t *tx)
{
	return rte_eth_dev_adjust_nb_rx_tx_desc(port, rx, tx);
}

int ces_rx_queue_setup(uint16_t port, uint16_t queue, uint16_t descriptors, int socket, struct ces_pool *pool)
{
	return rte_eth_rx_queue_setup(port, queue, descriptors, (unsigned int)socket, NULL, theirs(pool));
}

int ces_tx_queue_setup(uint16_t port, uint16_t queue, uint16_t descriptors, int socket)
{
	return rte_eth_tx_queue_setup(port, queue, descriptors, (unsigned int)socket, NULL);
}

int ces_port_start(uint16_t port)
{
	return rte_eth_dev_start(port);
}

int ces_port_stop(uint16_t port)
{
	return rte_eth_dev_stop(port);
}

int ces_port_close(uint16_t port)
{
	return rte_eth_dev_close(port);
}

int ces_port_promiscuous(uint16_t port)
{
	return rte_eth_promiscuous_enable(port);
}

int ces_port_all_multicast(uint16_t port)
{
	return rte_eth_allmulticast_enable(port);
}

int ces_port_link(uint16_t port, struct ces_link *link)
{
	struct rte_eth_link device = { 0 };
	int rc = rte_eth_link_get_nowait(port, &device);
	if (rc != 0)
		return rc;
	link->up = device.link_status == RTE_ETH_LINK_UP;
	link->full_duplex = device.link_duplex == RTE_ETH_LINK_FULL_DUPLEX;
	link->speed_mbps = device.link_speed;
	return 0;
}

int ces_port_stats(uint16_t port, struct ces_port_stats *stats)
{
	struct rte_eth_stats device;
	int rc = rte_eth_stats_get(port, &device);
	if (rc != 0)
		return rc;
	*stats = (struct ces_port_stats){
		.rx_packets = device.ipackets,
		.tx_packets = device.opackets,
		.rx_bytes = device.ibytes,
		.tx_bytes = device.obytes,
		.rx_missed = device.imissed,
		.rx_errors = device.ierrors,
		.tx_errors = device.oerrors,
		.rx_no_mbuf = device.rx_nombuf,
	};
	return 0;
}

int ces_port_mac(uint16_t port, uint8_t mac[6])
{
	struct rte_ether_addr address;
	int rc = rte_eth_macaddr_get(port, &address);
	if (rc == 0)
		memcpy(mac, address.addr_bytes, 6);
	return rc;
}

int ces_port_set_mac(uint16_t port, const uint8_t mac[6])
{
	struct rte_ether_addr address;
	memcpy(address.addr_bytes, mac, 6);
	return rte_eth_dev_default_mac_addr_set(port, &address);
}

int ces_port_mtu(uint16_t port, uint16_t *mtu)
{
	return rte_eth_dev_get_mtu(port, mtu);
}

int ces_port_set_mtu(uint16_t port, uint16_t mtu)
{
	return rte_eth_dev_set_mtu(port, mtu);
}

/* --- ports: packets --- */

uint16_t ces_rx_burst(uint16_t port, uint16_t queue, struct ces_mbuf **mbufs, uint16_t count)
{
	return rte_eth_rx_burst(port, queue, (struct rte_mbuf **)mbufs, count);
}

uint16_t ces_tx_burst(uint16_t port, uint16_t queue, struct ces_mbuf **mbufs, uint16_t count)
{
	return rte_eth_tx_burst(port, queue, (struct rte_mbuf **)mbufs, count);
}

/* --- ports: interrupts --- */

int ces_rx_interrupt_add(uint16_t port, uint16_t queue, int epoll)
{
	return rte_eth_dev_rx_intr_ctl_q(port, queue, epoll, RTE_INTR_EVENT_ADD, NULL);
}

int ces_rx_interrupt_remove(uint16_t port, uint16_t queue, int epoll)
{
	return rte_eth_dev_rx_intr_ctl_q(port, queue, epoll, RTE_INTR_EVENT_DEL, NULL);
}

int ces_rx_interrupt_arm(uint16_t port, uint16_t queue)
{
	return rte_eth_dev_rx_intr_enable(port, queue);
}

int ces_rx_interrupt_disarm(uint16_t port, uint16_t queue)
{
	return rte_eth_dev_rx_intr_disable(port, queue);
}

void ces_rx_interrupts_seen(int epoll)
{
	struct rte_epoll_event events[16];

	rte_epoll_wait(epoll, events, 16, 0);
}
