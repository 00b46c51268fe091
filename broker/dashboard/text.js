/*
 * text.js - every word of the page, in English and Spanish. A row is [English, Spanish]; {0}, {1} are what t() is given
 * besides. The broker's own sentences come in both languages (`text`, `text_es`).
 */
export const LANGUAGES = {en: 'English', es: 'Español'};

const TEXT = {
    /* the frame */
    home: ['Chasqui, overview', 'Chasqui, resumen'],
    skip: ['Skip to the content', 'Ir al contenido'],
    views: ['Views', 'Vistas'],
    overview: ['Overview', 'Resumen'],
    robots_title: ['Robots', 'Robots'],
    sessions_title: ['Sessions', 'Sesiones'],
    jobs_title: ['Jobs', 'Trabajos'],
    batches_title: ['Batches', 'Lotes'],
    audit_title: ['Audit', 'Auditoría'],
    title_of: ['{0}', '{0}'],
    language: ['Language', 'Idioma'],
    theme: ['Colours', 'Colores'],
    theme_auto: ['Auto', 'Auto'],
    theme_light: ['Light', 'Claro'],
    theme_dark: ['Dark', 'Oscuro'],
    log_in: ['Log in', 'Entrar'],
    log_out: ['Log out', 'Salir'],
    reads_only: ['reads only', 'solo lectura'],
    foot: ['Broker {0}, Chasqui {1}', 'Broker {0}, Chasqui {1}'],
    busy: ['One moment…', 'Un momento…'],
    connecting: ['Asking the broker…', 'Preguntando al broker…'],

    /* the door */
    door_say: ['Show an operator’s token. The page keeps a cookie for twelve hours, never the token.', 'Muestra un token de operador. La página guarda una cookie por doce horas, nunca el token.'],
    token: ['Token', 'Token'],
    door_how: ['To make one:', 'Para crear uno:'],
    door_http: ['This page came over plain HTTP: whoever is on the way can read the token.', 'Esta página llegó por HTTP sin cifrar: cualquiera en el camino puede leer el token.'],
    token_refused: ['This token is not known, has expired or was revoked.', 'Este token no existe, venció o fue revocado.'],
    token_weak: ['This token may not look here: it needs the ability ops or ops:read, for all companies.', 'Este token no puede mirar aquí: necesita la capacidad ops u ops:read, para todas las empresas.'],
    token_slow: ['Too many attempts from your address. Wait a minute.', 'Demasiados intentos desde tu dirección. Espera un minuto.'],
    logged_out: ['You were logged out: twelve hours are over, or the token was revoked.', 'Tu sesión terminó: pasaron doce horas o el token fue revocado.'],

    /* the state */
    state: ['State', 'Estado'],
    live: ['live', 'en vivo'],
    last_known: ['last heard {0}', 'última noticia {0}'],
    and_more: ['and {0} more', 'y {0} más'],
    broker_silent: ['The broker does not answer.', 'El broker no responde.'],
    broker_gone: ['The broker does not answer (lost {0}).', 'El broker no responde (se perdió {0}).'],
    broker_gone_todo: ['This page keeps trying and goes on by itself. What you see below is the last that was heard.', 'La página sigue intentando y continuará sola. Lo de abajo es lo último que se supo.'],
    broker_says: ['The broker says: {0}.', 'El broker dice: {0}.'],
    broker_says_todo: ['Until then it cannot check who you are. This page keeps trying.', 'Hasta entonces no puede comprobar quién eres. La página sigue intentando.'],
    robots_up: ['{0} of {1} robots up', '{0} de {1} robots activos'],
    places_used: ['{0} of {1} places used', '{0} de {1} plazas ocupadas'],
    places_free: ['{0} free', '{0} libres'],
    dispatchers_there: ['dispatchers: {0}', 'dispatchers: {0}'],
    waiting_n: ['{0} waiting', '{0} en espera'],
    nothing_waits: ['nothing waits', 'nada espera'],

    /* numbers */
    key_numbers: ['Key numbers', 'Números clave'],
    waiting: ['Waiting', 'En espera'],
    oldest: ['oldest {0}', 'el más antiguo {0}'],
    oldest_head: ['Oldest', 'El más antiguo'],
    done: ['Done', 'Hechos'],
    failed: ['Failed', 'Fallidos'],
    failed_rate: ['{0} failed', '{0} fallidos'],
    answer_time: ['Answer time', 'Respuesta'],
    login_time: ['Log-in time', 'Inicio de sesión'],
    p95_of: ['p95, {0}', 'p95, {0}'],
    places: ['Places', 'Plazas'],
    up: ['up', 'activos'],
    queue_clears: ['Queue clears in', 'La cola se vacía en'],
    batches_open: ['{0} batches open', '{0} lotes abiertos'],
    per_s: ['{0}/s', '{0}/s'],
    per_min: ['{0}/min', '{0}/min'],
    now: ['now', 'ahora'],
    ago: ['{0} ago', 'hace {0}'],
    in: ['in {0}', 'en {0}'],
    as_of: ['as of {0}', 'a las {0}'],
    not_told: ['not told yet', 'aún sin datos'],
    minutes: ['{0} minutes', '{0} minutos'],
    hours: ['{0} h', '{0} h'],
    throughput: ['Throughput, last hour', 'Rendimiento, última hora'],
    throughput_note: ['Ended requests and jobs a minute.', 'Pedidos y trabajos terminados por minuto.'],
    quiet_hour: ['A quiet hour: nothing was asked', 'Una hora tranquila: nadie pidió nada'],
    chart_before: ['the broker started at {0}', 'el broker arrancó a las {0}'],
    under_a_second: ['under 1 s', 'menos de 1 s'],
    waits: ['Wait, last hour', 'Espera, última hora'],
    waits_note: ['95 of 100 waited at most this long before somebody took them up.', '95 de cada 100 esperaron como mucho esto hasta ser atendidos.'],
    no_wait_hour: ['Nobody waited', 'Nadie esperó'],

    /* the queue */
    by_lane: ['Queue by lane', 'Cola por carril'],
    lanes_note: ['Lanes are requests in the broker’s memory, best first; the queue is in the database and outlives every process.', 'Los carriles son pedidos en la memoria del broker, los mejores primero; la cola está en la base de datos y sobrevive a todo proceso.'],
    lane: ['Lane', 'Carril'],
    about_control: ['tokens, queries, this page', 'tokens, consultas, esta página'],
    about_interactive: ['lists, downloads, actions', 'listas, descargas, acciones'],
    about_login: ['log-ins that somebody waits for', 'inicios de sesión que alguien espera'],
    about_batch: ['batches coming in', 'lotes que llegan'],
    about_queue: ['durable jobs in the database', 'trabajos en la base de datos'],
    working: ['At work', 'En curso'],
    wait_head: ['Wait p50 / p95 / p99', 'Espera p50 / p95 / p99'],
    latency_head: ['Answered in p50 / p95 / p99', 'Respuesta p50 / p95 / p99'],
    percentiles_hint: ['of the last five minutes', 'de los últimos cinco minutos'],
    clears_in: ['Clears in', 'Se vacía en'],
    clears_hint: ['what waits, at the pace of the last minute', 'lo que espera, al ritmo del último minuto'],
    stands: ['stands still', 'parada'],
    accepted: ['Accepted', 'Aceptados'],
    rejected: ['Rejected', 'Rechazados'],
    retried: ['Retried', 'Reintentos'],
    queue_title: ['Durable queue', 'Cola duradera'],
    queue_none: ['No dispatcher has told about the queue yet.', 'Ningún dispatcher ha informado aún sobre la cola.'],
    queue_empty: ['Nothing is ready to run: the queue is empty.', 'Nada está listo: la cola está vacía.'],
    ready: ['Ready', 'Listos'],
    scheduled: ['Scheduled', 'Programados'],
    running: ['Running', 'En curso'],
    by_priority: ['Ready jobs by priority', 'Trabajos listos por prioridad'],
    priority_n: ['priority {0}', 'prioridad {0}'],
    pause: ['Pause', 'Pausar'],
    resume: ['Resume', 'Reanudar'],
    pause_title: ['Pause the queue?', '¿Pausar la cola?'],
    pause_body: ['No queued job begins any more. What runs goes on, and log-ins that somebody waits for are not touched.', 'Ningún trabajo en cola empieza. Lo que corre continúa, y los inicios de sesión que alguien espera no se tocan.'],
    pause_for: ['For', 'Por'],
    until_resumed: ['until somebody resumes it', 'hasta que alguien la reanude'],
    paused_told: ['The queue is paused.', 'La cola está en pausa.'],
    paused_by: ['Paused by {0} {1}.', 'Pausada por {0} {1}.'],
    paused_until: ['Until {0}.', 'Hasta {0}.'],
    resume_title: ['Resume the queue?', '¿Reanudar la cola?'],
    resumed_told: ['The queue goes on.', 'La cola continúa.'],
    reason: ['Reason (for the audit trail)', 'Motivo (para la auditoría)'],

    /* robots */
    no_robots: ['No robot is registered: chasqui worker add NAME --base-url URL', 'No hay robots registrados: chasqui worker add NOMBRE --base-url URL'],
    all_and_act: ['Details, drain and resume', 'Detalles, drenar y reanudar'],
    robot: ['Robot', 'Robot'],
    up_since: ['Well for {0}.', 'Bien desde hace {0}.'],
    judged_since: ['Like this for {0}.', 'Así desde hace {0}.'],
    login_time_head: ['Log-in p50 / p95 / p99', 'Inicio p50 / p95 / p99'],
    logins: ['Log-ins', 'Inicios'],
    in_flight: ['Under way', 'En curso'],
    told_by_robot: ['It says itself', 'El robot dice'],
    sessions_of: ['{0} sessions of {1}', '{0} sesiones de {1}'],
    times_waited: ['Waits', 'Esperas'],
    abandoned: ['Abandoned', 'Abandonadas'],
    errors_5min: ['Errors, last 5 min', 'Errores, últimos 5 min'],
    no_errors: ['none', 'ninguno'],
    last_change: ['Last change', 'Último cambio'],
    change: ['{0}, {1} → {2}', '{0}, {1} → {2}'],
    no_change: ['none since the broker started', 'ninguno desde que arrancó el broker'],
    its_sessions: ['Sessions', 'Sesiones'],
    drain: ['Drain', 'Drenar'],
    drain_title: ['Drain {0}', 'Drenar {0}'],
    drain_body: ['It gets no new sessions. Those it has ({0}) move to other robots when they are idle, if their credentials are stored, or at the deadline.', 'No recibe sesiones nuevas. Las que tiene ({0}) pasan a otros robots cuando estén ociosas, si hay credenciales guardadas, o al llegar el plazo.'],
    deadline: ['Deadline for its sessions', 'Plazo para sus sesiones'],
    deadline_none: ['none: only when they are idle', 'ninguno: solo cuando estén ociosas'],
    drain_told: ['{0} drains.', '{0} se drena.'],
    silent_waiting: ['It does not answer. Sessions that wait for it: {0}, {1} of them can move.', 'No responde. Sesiones que lo esperan: {0}, {1} pueden moverse.'],
    silent_until: ['They move from {0} on, the others are lost at {1}, unless it answers.', 'Se mueven desde {0}, las demás se pierden a las {1}, si no responde antes.'],
    two_boots: ['Two processes answer under its URL ({0}, {1}): give each a URL of its own.', 'Dos procesos responden en su URL ({0}, {1}): dé a cada uno su propia URL.'],
    drain_left: ['Draining: {0} sessions left, {1} of them can move.', 'Drenando: quedan {0} sesiones, {1} pueden moverse.'],
    drain_done: ['Drained: no session is left.', 'Drenado: no queda ninguna sesión.'],
    drain_until: ['Deadline {0}.', 'Plazo {0}.'],
    drain_idle: ['They move when they are idle.', 'Se mueven cuando estén ociosas.'],
    drain_since: ['Begun {0}.', 'Desde {0}.'],
    resume_robot_title: ['Resume {0}', 'Reanudar {0}'],
    resume_robot_body: ['It gets new sessions again.', 'Vuelve a recibir sesiones nuevas.'],
    resume_robot_told: ['{0} takes new sessions again.', '{0} vuelve a recibir sesiones.'],

    /* processes, companies, routes */
    processes: ['Processes', 'Procesos'],
    process: ['Process', 'Proceso'],
    broker: ['Broker', 'Broker'],
    dispatcher: ['Dispatcher', 'Dispatcher'],
    healthd: ['healthd', 'healthd'],
    does_now: ['Right now', 'Ahora mismo'],
    runs_for: ['Runs for', 'Activo por'],
    answers: ['answers', 'responde'],
    heard: ['heard', 'se oye'],
    silent: ['silent', 'en silencio'],
    no_database: ['no database', 'sin base de datos'],
    gone_since: ['last heard {0}', 'última noticia {0}'],
    broker_what: ['{0} connections, {1} requests, {2} streams, {3}/s out', '{0} conexiones, {1} pedidos, {2} flujos, {3}/s de salida'],
    dispatcher_what: ['{0} in flight, takes {5} more, database {1} of {2} busy, {3} waiting, {4} log-ins', '{0} en curso, admite {5} más, base de datos {1} de {2} ocupadas, {3} en espera, {4} inicios'],
    healthd_what: ['{0} up, {1} suspect, {2} down; probes p95 {3}; gaps {4}', '{0} activos, {1} dudosos, {2} caídos; sondas p95 {3}; huecos {4}'],
    boot: ['start {0}', 'arranque {0}'],
    companies: ['Companies', 'Empresas'],
    companies_note: ['The ten that wait and use most, last {0}.', 'Las diez que más esperan y más usan, últimos {0}.'],
    company: ['Company', 'Empresa'],
    company_n: ['{0}', '{0}'],
    wait_most: ['Wait most', 'Más esperan'],
    use_most: ['Use most', 'Más usan'],
    waited: ['Waited', 'Esperó'],
    requests: ['Requests', 'Pedidos'],
    worked: ['Work done', 'Trabajo hecho'],
    nobody_waits: ['Nobody waits.', 'Nadie espera.'],
    nobody_uses: ['Nobody asked for anything.', 'Nadie pidió nada.'],
    routes: ['Requests by route', 'Pedidos por ruta'],
    route: ['Route', 'Ruta'],
    rate: ['Rate', 'Ritmo'],
    codes: ['Answers', 'Respuestas'],
    nothing_asked: ['Nothing was asked yet.', 'Aún no se pidió nada.'],

    /* lists */
    search: ['Search', 'Buscar'],
    filter: ['Filter', 'Filtrar'],
    clear: ['Clear', 'Limpiar'],
    refresh: ['Refresh', 'Actualizar'],
    older: ['Older ones', 'Más antiguos'],
    all: ['all', 'todos'],
    actions: ['Actions', 'Acciones'],
    changes_since: ['{0} changes since you looked.', '{0} cambios desde que miraste.'],
    show_them: ['Show', 'Mostrar'],
    cancel_dialog: ['Never mind', 'Volver'],

    /* sessions */
    session: ['Session', 'Sesión'],
    portal: ['Portal', 'Portal'],
    job: ['Job', 'Trabajo'],
    started: ['Started', 'Inicio'],
    last_used: ['Last used', 'Último uso'],
    viewer: ['Viewer', 'Ver'],
    viewer_of: ['Viewer of the session of company {0}', 'Ver la sesión de la empresa {0}'],
    close: ['Close', 'Cerrar'],
    close_of: ['Close the session of company {0}', 'Cerrar la sesión de la empresa {0}'],
    close_title: ['Close this session?', '¿Cerrar esta sesión?'],
    close_body: ['It ends on its robot; whoever uses it has to log in again.', 'Termina en su robot; quien la use tendrá que iniciar sesión de nuevo.'],
    closed_told: ['The session is closed.', 'La sesión está cerrada.'],
    migrate: ['Migrate', 'Migrar'],
    migrate_of: ['Migrate the session of company {0}', 'Migrar la sesión de la empresa {0}'],
    migrate_title: ['Move this session to another robot?', '¿Mover esta sesión a otro robot?'],
    migrate_body: ['The company is logged in on another robot with its stored credentials; the session id goes on working.', 'La empresa inicia sesión en otro robot con sus credenciales guardadas; el id de sesión sigue sirviendo.'],
    migrated_told: ['The session is on its way.', 'La sesión está en camino.'],
    migrating: ['migrating', 'migrando'],
    no_sessions: ['No session is like that.', 'Ninguna sesión es así.'],

    /* jobs */
    by_state: ['By state', 'Por estado'],
    job_or_uid: ['Job id or uid', 'Id o uid del trabajo'],
    batch: ['Batch', 'Lote'],
    batch_n: ['batch {0}', 'lote {0}'],
    action: ['Action', 'Acción'],
    attempts: ['Attempts', 'Intentos'],
    created: ['Created', 'Creado'],
    available: ['Available', 'Disponible'],
    finished: ['Finished', 'Terminado'],
    took: ['Took', 'Duró'],
    error: ['Error', 'Error'],
    priority: ['Priority', 'Prioridad'],
    retry: ['Retry', 'Reintentar'],
    cancel: ['Cancel', 'Cancelar'],
    retry_title: ['Retry job {0}', 'Reintentar el trabajo {0}'],
    retry_body: ['It goes back into the queue with its attempts at nought. Its params are gone: stored credentials are used.', 'Vuelve a la cola con sus intentos en cero. Sus parámetros ya no existen: se usan las credenciales guardadas.'],
    retry_told: ['The job is queued again.', 'El trabajo está otra vez en cola.'],
    cancel_title: ['Cancel job {0}', 'Cancelar el trabajo {0}'],
    cancel_body: ['It will not begin.', 'No empezará.'],
    cancel_running_body: ['It runs: its dispatcher is asked to stop it.', 'Está en curso: se pide a su dispatcher que lo detenga.'],
    cancel_told: ['Cancelled, or asked to stop.', 'Cancelado, o se pidió detenerlo.'],
    bulk_retry: ['Retry all found…', 'Reintentar los hallados…'],
    bulk_cancel: ['Cancel all found…', 'Cancelar los hallados…'],
    bulk_retry_title: ['Retry all jobs that this search finds', 'Reintentar todos los trabajos de esta búsqueda'],
    bulk_cancel_title: ['Cancel all jobs that this search finds', 'Cancelar todos los trabajos de esta búsqueda'],
    bulk_all: ['No filter: all jobs.', 'Sin filtro: todos los trabajos.'],
    bulk_counting: ['Counting…', 'Contando…'],
    bulk_retry_n: ['{0} jobs would be retried.', 'Se reintentarían {0} trabajos.'],
    bulk_cancel_n: ['{0} jobs would be cancelled.', 'Se cancelarían {0} trabajos.'],
    bulk_retry_note: ['Only failed and cancelled log-ins can be retried.', 'Solo se reintentan inicios de sesión fallidos o cancelados.'],
    bulk_cancel_note: ['Those that wait are cancelled, those that run are asked to stop.', 'Los que esperan se cancelan, a los que corren se les pide detenerse.'],
    bulk_retry_told: ['{0} jobs are queued again.', '{0} trabajos están otra vez en cola.'],
    bulk_cancel_told: ['{0} jobs are cancelled, or asked to stop.', '{0} trabajos cancelados, o se pidió detenerlos.'],
    filter_status: ['State', 'Estado'],
    filter_search: ['Id or uid', 'Id o uid'],
    filter_company_id: ['Company', 'Empresa'],
    filter_batch_id: ['Batch', 'Lote'],
    filter_worker: ['Robot', 'Robot'],
    filter_portal: ['Portal', 'Portal'],
    no_jobs: ['No job is like that.', 'Ningún trabajo es así.'],
    job_n: ['Job {0}', 'Trabajo {0}'],
    all_jobs: ['All jobs', 'Todos los trabajos'],
    for_company: ['for company {0}', 'para la empresa {0}'],
    why_waits: ['What it waits for', 'Qué espera'],
    why_nothing: ['Nothing: it is being worked on.', 'Nada: se está trabajando en él.'],
    timeline: ['Timeline', 'Cronología'],
    timeline_label: ['What happened over {0}', 'Lo que pasó en {0}'],
    no_timeline: ['No event is recorded.', 'No hay eventos registrados.'],
    phase_wait: ['waiting', 'en espera'],
    phase_run: ['running', 'en curso'],
    phase_session: ['session open', 'sesión abierta'],
    on_robot: ['on {0}', 'en {0}'],
    by_dispatcher: ['by {0}', 'por {0}'],

    /* batches, audit */
    progress: ['Progress', 'Avance'],
    n_of: ['{0} of {1}', '{0} de {1}'],
    nothing_yet: ['nothing yet', 'nada todavía'],
    eta: ['Done', 'Listo'],
    eta_unknown: ['not known', 'no se sabe'],
    its_jobs: ['Jobs', 'Trabajos'],
    its_failures: ['Failures', 'Fallidos'],
    cancel_batch_title: ['Cancel what is left of batch {0}', 'Cancelar lo que queda del lote {0}'],
    cancel_batch_body: ['What waits is cancelled, what runs is asked to stop. What is done stays done.', 'Lo que espera se cancela, a lo que corre se le pide detenerse. Lo hecho queda hecho.'],
    cancel_batch_told: ['The batch is cancelled.', 'El lote está cancelado.'],
    no_batches: ['There is no batch.', 'No hay lotes.'],
    audit_search: ['Who, what or to what', 'Quién, qué o a qué'],
    when: ['When', 'Cuándo'],
    who: ['Who', 'Quién'],
    did: ['Did', 'Hizo'],
    to_what: ['To what', 'A qué'],
    detail: ['Detail', 'Detalle'],
    request: ['Request', 'Pedido'],
    no_audit: ['Nobody has done anything like that.', 'Nadie ha hecho nada así.'],
};

const NAME = { /* states and kinds as they stand on the wire; what is not here is shown as it is */
    control: ['control', 'control'], interactive: ['interactive', 'interactivo'], login: ['log-in', 'inicio'], batch: ['batch intake', 'entrada de lotes'], queue: ['durable queue', 'cola duradera'],
    up: ['up', 'activo'], suspect: ['suspect', 'dudoso'], down: ['down', 'caído'], unknown: ['unknown', 'desconocido'],
    draining: ['draining', 'drenando'], disabled: ['disabled', 'deshabilitado'], active: ['active', 'activo'], connected: ['connected', 'conectado'], gone: ['gone', 'ausente'],
    queued: ['queued', 'en cola'], running: ['running', 'en curso'], retrying: ['retrying', 'reintentando'], done: ['done', 'hecho'], failed: ['failed', 'fallido'], cancelled: ['cancelled', 'cancelado'],
    session_live: ['live', 'vivas'], session_opening: ['opening', 'abriendo'], session_active: ['active', 'activa'], session_closing: ['closing', 'cerrando'], session_closed: ['closed', 'cerrada'],
    session_expired: ['expired', 'vencida'], session_lost: ['lost', 'perdida'], session_migrated: ['migrated', 'migrada'],
    batch_open: ['coming in', 'llegando'], batch_running: ['running', 'en curso'], batch_done: ['done', 'hecho'], batch_cancelled: ['cancelled', 'cancelado'],
    error_unreachable: ['unreachable', 'inalcanzable'], error_timeout: ['too slow', 'muy lento'], error_broken: ['cut off', 'cortado'], error_full: ['full', 'lleno'],
    error_stale: ['stale', 'obsoleto'], error_said_no: ['said no', 'dijo que no'], error_bad_answer: ['nonsense', 'sin sentido'],
    event_queued: ['Queued', 'En cola'], event_started: ['Started', 'Empezó'], event_done: ['Done', 'Hecho'], event_failed: ['Failed', 'Falló'], event_cancelled: ['Cancelled', 'Cancelado'],
    event_retrying: ['Will be tried again', 'Se reintentará'], event_retried: ['Queued again by hand', 'Otra vez en cola, a mano'], event_rescued: ['Taken over', 'Rescatado'],
    event_epoch_raised: ['Tried again with a new epoch', 'Reintentado con otra época'], event_robot_changed: ['Another robot', 'Otro robot'], event_adopted: ['Adopted from Laravel', 'Adoptado de Laravel'],
    event_migration_planned: ['Has to move', 'Debe moverse'], event_migration_started: ['Moves', 'Se mueve'], event_migration_failed: ['Move failed', 'No pudo moverse'], event_migrated: ['Moved', 'Movido'],
    why_paused: ['The queue is paused.', 'La cola está en pausa.'], why_company_busy: ['Another log-in or close of this company and portal is under way.', 'Otro inicio o cierre de esta empresa y portal está en curso.'],
    why_retrying: ['Its last attempt failed; it is tried again then.', 'Su último intento falló; se reintenta entonces.'], why_scheduled: ['It may not begin before then.', 'No puede empezar antes.'],
    why_next: ['It is the next to be claimed.', 'Es el próximo en ser tomado.'], why_behind: ['Jobs stand before it.', 'Hay trabajos antes que él.'],
    why_not_ours: ['Laravel made it: it is not in this queue.', 'Lo creó Laravel: no está en esta cola.'], why_running: ['It is being worked on.', 'Se está trabajando en él.'],
    why_cancelling: ['It was asked to stop.', 'Se le pidió detenerse.'], why_no_robot: ['No robot that is up may be given work.', 'Ningún robot activo puede recibir trabajo.'],
    why_waiting_for_place: ['No robot has a place for queued work.', 'Ningún robot tiene plaza para trabajo en cola.'],
    event_cancel_asked: ['Asked to stop', 'Se pidió detenerlo'], event_session_closed: ['Session closed', 'Sesión cerrada'], event_session_expired: ['Session expired', 'Sesión vencida'], event_session_lost: ['Session lost', 'Sesión perdida'],
};

let column = 0;

function chosen() {
    try {
        return localStorage.getItem('chasqui.language');
    } catch {
        return null;
    }
}

const codes = Object.keys(LANGUAGES);
setColumn(chosen() || (navigator.language || 'en').slice(0, 2));

function setColumn(code) {
    column = Math.max(0, codes.indexOf(code));
}

export function setLanguage(code) {
    setColumn(code);
    try {
        localStorage.setItem('chasqui.language', code);
    } catch { /* for this visit only, then */ }
}

export function language() {
    return codes[column];
}

export function t(key, ...given) {
    const row = TEXT[key];
    return row ? row[column].replace(/\{(\d)\}/g, (_, i) => String(given[i] ?? '')) : key;
}

/* Are there words for it? */
export function knows(code) {
    return code in NAME;
}

export function name(code) {
    return NAME[code]?.[column] ?? String(code ?? '').replace(/^(event|error)_/, '').replaceAll('_', ' ');
}

/* A member of the broker's in the page's language: text or text_es. */
export function word(row, member) {
    return (column === 1 && row[member + '_es']) || row[member] || '';
}
