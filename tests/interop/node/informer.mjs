// Informers of services and endpointslices; tells each event as a line of JSON.
//
//   node informer.mjs KUBECONFIG NAMESPACE WATCH_SECONDS
//
// WATCH_SECONDS is asked of the server for each watch, so that it ends soon and the informer has to
// go on. Ends with its standard input.
import * as k8s from '@kubernetes/client-node';

const [kubeconfig, namespace, seconds] = process.argv.slice(2);
const config = new k8s.KubeConfig();
config.loadFromFile(kubeconfig);
const core = config.makeApiClient(k8s.CoreV1Api);
const discovery = config.makeApiClient(k8s.DiscoveryV1Api);

const tell = (line) => process.stdout.write(JSON.stringify(line) + '\n');

function inform(of, path, list) {
  const informer = k8s.makeInformer(config, `${path}?timeoutSeconds=${seconds}`, list);
  for (const event of ['add', 'update', 'delete']) {
    informer.on(event, (object) => {
      const { name, resourceVersion } = object.metadata;
      tell({ of, event, name, version: resourceVersion, held: informer.list(namespace).length });
    });
  }
  informer.on('connect', () => tell({ of, event: 'connect' }));
  informer.on('error', (error) => {
    tell({ of, event: 'error', text: String(error) });
    setTimeout(() => informer.start(), 200); // as its documentation says
  });
  return informer.start();
}

process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
await inform('services', `/api/v1/namespaces/${namespace}/services`, () =>
  core.listNamespacedService({ namespace }),
);
await inform(
  'endpointslices',
  `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`,
  () => discovery.listNamespacedEndpointSlice({ namespace }),
);
